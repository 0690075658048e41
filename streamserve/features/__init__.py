"""Features joined to events; the home of Feast."""
