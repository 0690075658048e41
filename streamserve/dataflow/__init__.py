"""From a plan of plain data to one running Bytewax dataflow; each room stands on those below it.

running    the worker: incarnations of the engine, each with one compiled dataflow
checks     what is wrong with a plan, found without a broker          render   a plan as text, Mermaid and JSON
steps      what happens to a batch
arriving   from polled records to batches, in the order in which they are processed
owning     partition groups: what a worker owns, restores, commits as one, and lets go
driving    how user code runs, and what it may ask for
planning   what an app declares, as plain data, and whether it fits together
"""
