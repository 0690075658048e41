"""The worker: incarnations of the engine, each with one compiled dataflow."""
