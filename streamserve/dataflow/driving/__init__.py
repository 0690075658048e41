"""How user code runs: agents by hand or on an event loop, and what it may ask for."""
