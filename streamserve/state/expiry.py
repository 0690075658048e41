"""Which records may have outlived their time to live: an index by time of last write, in coarse buckets."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from streamserve.state.format import FIRST_PLAIN, is_value_key, unpack_stamp
from streamserve.state.store import Store

__all__ = ["MOST_AT_ONCE", "ExpiryIndex", "MemoryExpiry", "StoredExpiry", "bucket_width"]

MOST_AT_ONCE = 10_000
"""How many keys are given out for removal at a time."""

_BUCKETS = 32
_INDEX = b"\x00x"
_PREFIX = len(_INDEX) + 8
_OFFSET = 1 << 63  # makes signed times sort as unsigned bytes


def bucket_width(ttl_ms: int) -> int:
    """Return the width of a bucket in milliseconds: a 32nd of the time to live, so much later is a record removed."""
    return max(1, ttl_ms // _BUCKETS)


class ExpiryIndex(Protocol):
    """Remembers under which time buckets a key was written.

    A key that is written again stays in its old buckets too, so whoever asks checks the record's own time.
    """

    def note(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Remember the last write of each value among the changelog records."""
        ...

    def due(self, before_ms: int) -> list[bytes]:
        """Forget and return keys of buckets that end at or before ``before_ms``, at most ``MOST_AT_ONCE``."""
        ...


class MemoryExpiry:
    """Sets of keys by bucket: a reference for each key and bucket, about 60 bytes.

    >>> from streamserve.state.format import pack_head
    >>> index = MemoryExpiry(10)
    >>> index.note([b"a", b"b", b"c"], [pack_head(5) + b"{}", pack_head(12) + b"{}", None])
    >>> index.due(10), index.due(10), index.due(20)
    ([b'a'], [], [b'b'])
    """

    def __init__(self, width_ms: int) -> None:
        self.width_ms = width_ms
        self._buckets: defaultdict[int, set[bytes]] = defaultdict(set)

    def note(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Remember the last write of each value among the changelog records."""
        buckets, width_ms = self._buckets, self.width_ms
        for key, value in zip(keys, values, strict=True):
            if value is not None and (key >= FIRST_PLAIN or is_value_key(key)):
                buckets[unpack_stamp(value) // width_ms].add(key)

    def due(self, before_ms: int) -> list[bytes]:
        """Forget and return keys of buckets that end at or before ``before_ms``, at most ``MOST_AT_ONCE``."""
        first_kept = before_ms // self.width_ms
        due: list[bytes] = []
        for bucket in sorted(bucket for bucket in self._buckets if bucket < first_kept):
            keys = self._buckets[bucket]
            due.extend(keys.pop() for _ in range(min(len(keys), MOST_AT_ONCE - len(due))))
            if keys:
                break
            del self._buckets[bucket]
        return due

    def entries(self) -> list[tuple[int, bytes]]:
        """Return everything as (bucket, key)."""
        return [(bucket, key) for bucket, keys in self._buckets.items() for key in keys]


class StoredExpiry:
    """Index records in the store itself, ``00 "x"``, bucket, key: for tables that outgrow memory."""

    def __init__(self, width_ms: int, store: Store) -> None:
        self._width_ms = width_ms
        self._store = store
        self._first_kept: float = -math.inf
        """The store holds no entry of an earlier bucket."""

    def note(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Remember the last write of each value among the changelog records."""
        noted = MemoryExpiry(self._width_ms)
        noted.note(keys, values)
        found = noted.entries()
        if found:
            self._store.write([_index_key(bucket, key) for bucket, key in found], [b""] * len(found))
            self._first_kept = min(self._first_kept, *(bucket for bucket, _ in found))

    def due(self, before_ms: int) -> list[bytes]:
        """Forget and return keys of buckets that end at or before ``before_ms``, at most ``MOST_AT_ONCE``."""
        first_kept = before_ms // self._width_ms
        if first_kept <= self._first_kept:
            return []
        entries = [entry for entry, _ in islice(self._store.items(_INDEX, _index_key(first_kept)), MOST_AT_ONCE)]
        self._store.write(entries, [None] * len(entries))
        if len(entries) < MOST_AT_ONCE:
            self._first_kept = first_kept
        return [entry[_PREFIX:] for entry in entries]


def _index_key(bucket: int, key: bytes = b"") -> bytes:
    return _INDEX + (bucket + _OFFSET).to_bytes(8, "big") + key
