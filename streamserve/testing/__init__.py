"""What users and our own tests check with: faults and the delivery checker."""
