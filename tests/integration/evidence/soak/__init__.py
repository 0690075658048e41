"""A long run at half of full speed, in which a worker dies every minute: memory, descriptors, threads and latency.

``python -m tests.integration.evidence.soak --minutes 30 --json``.
"""
