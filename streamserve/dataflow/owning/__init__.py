"""Partition groups: what a worker owns, restores, commits as one, and lets go."""
