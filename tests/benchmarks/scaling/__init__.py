"""What a record and a commit cost by workers, records, keys and partitions, beside what the sizing model says."""
