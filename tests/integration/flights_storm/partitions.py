"""Where a key belongs, as Java's clients have it."""

from __future__ import annotations

from functools import cache

from topologies.flights.demo.topics import PARTITIONS

__all__ = ["murmur2", "partition_of"]

_MASK = 0xFFFFFFFF
_SEED = 0x9747B28C
_FACTOR = 0x5BD1E995


@cache
def partition_of(key: str) -> int:
    """Return the partition of a key.

    >>> [partition_of(origin) for origin in ("EWR", "JFK", "LGA")]
    [3, 1, 0]
    """
    return murmur2(key.encode()) % PARTITIONS


def murmur2(data: bytes) -> int:
    """Return the hash by which Kafka's default partitioner spreads keys: 32-bit MurmurHash2, without its sign.

    Austin Appleby's algorithm with the seed that ``org.apache.kafka.common.utils.Utils`` gives it.
    """
    whole = len(data) & ~3
    found = _SEED ^ len(data)
    for start in range(0, whole, 4):
        word = int.from_bytes(data[start : start + 4], "little") * _FACTOR & _MASK
        word = (word ^ word >> 24) * _FACTOR & _MASK
        found = found * _FACTOR & _MASK ^ word
    if whole < len(data):
        found = (found ^ int.from_bytes(data[whole:], "little")) * _FACTOR & _MASK
    found = (found ^ found >> 13) * _FACTOR & _MASK
    return (found ^ found >> 15) & 0x7FFFFFFF
