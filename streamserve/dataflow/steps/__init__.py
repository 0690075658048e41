"""The steps of a compiled dataflow, each over a whole batch."""
