"""Kafka in memory: topics, transactions and one consumer group, behind the clients that the engine calls.

What the engine relies on is kept: transactions end in markers and hold back ``read_committed`` readers, a newer
producer of a transactional id fences the older, offsets are committed in transactions and checked against the group's
generation, and a stable read of offsets waits for open ones. Errors are Kafka's own, with its codes. Not kept:
compaction, retention, compression, brokers and connections. A group has one member at a time.

Nothing here is thread-safe or waits: what a broker would answer later is answered at once.
"""

from streamserve.testing.memory_kafka.clients import memory_clients
from streamserve.testing.memory_kafka.cluster import Cluster, FaultKind, ProcessDied

__all__ = ["Cluster", "FaultKind", "ProcessDied", "memory_clients"]
