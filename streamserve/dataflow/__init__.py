"""From a plan of plain data to one running Bytewax dataflow."""
