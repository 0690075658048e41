"""From polled records to batches in the order in which they are processed."""
