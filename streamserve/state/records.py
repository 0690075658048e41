"""A table's records as bytes: the store, what changed since the last commit on top of it, and time to live."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from streamserve.state.base import Changes
from streamserve.state.expiry import ExpiryIndex, MemoryExpiry, StoredExpiry, bucket_width
from streamserve.state.format import ESCAPED, FIRST_PLAIN, check_versions, is_value_key, unpack_stamp
from streamserve.state.pending import DELETED, Entry
from streamserve.state.store import Store

__all__ = ["TableRecords"]

_LONG_AGO = -(1 << 62)

_Item: TypeAlias = tuple[bytes, bytes]


class TableRecords:
    """The changelog records of one table, values and timers, by changelog key.

    Changes stay in a dictionary until ``take_changes`` hands them to the transaction and to the store at once. The
    records of values older than ``ttl_ms`` read as absent from the millisecond on which they expire, and are deleted
    within a 32nd of it, at a cost that grows with what expires and not with what stays.
    """

    def __init__(self, name: str, store: Store, ttl_ms: int | None) -> None:
        self._name = name
        self._store = store
        self._ttl_ms = ttl_ms
        self.changed: dict[bytes, Entry] = {}
        """What was written or deleted since the last ``take_changes``; who changes values here changes this."""
        self._watermark_ms = _LONG_AGO
        self._expiry = None if ttl_ms is None else _make_expiry(store, ttl_ms)

    def find(self, key: bytes, now_ms: int) -> bytes | None:
        """Return the value's record under ``key``, ``None`` where there is none or it has expired."""
        record = self.find_even_expired(key)
        if record is None or self._ttl_ms is None:
            return record
        return record if self._lives(record, now_ms, self._ttl_ms) else None

    def find_even_expired(self, key: bytes) -> bytes | None:
        """Return the record under ``key`` whatever its age, ``None`` where there is none."""
        entry = self.changed.get(key)
        return self._store.get(key) if entry is None else entry[0]

    def find_stored(self, key: bytes) -> bytes | None:
        """Return the record under ``key`` without what changed since the last ``take_changes``."""
        record = self._store.get(key)
        if record is None or self._ttl_ms is None:
            return record
        return record if self._lives(record, self._watermark_ms, self._ttl_ms) else None

    def find_many(self, keys: Sequence[bytes], times_ms: Sequence[int]) -> list[bytes | None]:
        """Do as ``find`` does, for each key at its time."""
        found = self._store.get_many(keys)
        if self.changed:
            unchanged = [(record, None) for record in found]
            found = [record for record, _ in map(self.changed.get, keys, unchanged)]
        ttl_ms = self._ttl_ms
        if ttl_ms is None:
            return found
        return [
            record if record is not None and self._lives(record, now_ms, ttl_ms) else None
            for record, now_ms in zip(found, times_ms, strict=True)
        ]

    def scan(self, overlay: Mapping[bytes, Entry], now_ms: int) -> Iterator[_Item]:
        """Iterate over the values' records in key order, those of ``overlay`` in place of others, as they are now."""
        changed = {**self.changed, **overlay}
        own = sorted((key, record) for key, (record, _) in changed.items() if is_value_key(key) and record is not None)
        escaped = self._store.items(ESCAPED, _end_of(ESCAPED))
        plain = self._store.items(FIRST_PLAIN)
        for key, record in _merge(own, (item for part in (escaped, plain) for item in part if item[0] not in changed)):
            if key in overlay or self._ttl_ms is None or self._lives(record, now_ms, self._ttl_ms):
                yield key, record

    def timers(self, prefix: bytes) -> list[_Item]:
        """Return the records of one kind of timers that the store holds."""
        return list(self._store.items(prefix, _end_of(prefix)))

    def advance(self, watermark_ms: int) -> int:
        """Move the watermark, which never goes back, delete what expired, and return how much that was.

        At most ``MOST_AT_ONCE`` records go at a time, since their tombstones are part of one transaction.
        """
        self._watermark_ms = max(watermark_ms, self._watermark_ms)
        if self._expiry is None or self._ttl_ms is None:
            return 0
        gone = [
            key for key in self._expiry.due(self._watermark_ms - self._ttl_ms) if self._has_expired(key, self._ttl_ms)
        ]
        self.changed.update(dict.fromkeys(gone, DELETED))
        return len(gone)

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take records back in the order of the log."""
        check_versions(self._name, values)
        self._store.write(keys, values)
        if self._expiry is not None:
            self._expiry.note(keys, values)

    def take_changes(self) -> Changes:
        """Return what changed since the last call, and write it to the store; what has expired by now is deleted.

        So which records there are goes by the watermark at the end, not by how often changes were taken before.
        """
        if self._expiry is not None and self.changed:
            self._expiry.note(*self._changes())
            self.advance(self._watermark_ms)
        changes = self._changes()
        if self.changed:
            self._store.write(*changes)
            self.changed.clear()
        return changes

    def _changes(self) -> Changes:
        return list(self.changed), [record for record, _ in self.changed.values()]

    def _lives(self, record: bytes, now_ms: int, ttl_ms: int) -> bool:
        return max(now_ms, self._watermark_ms) <= unpack_stamp(record) + ttl_ms

    def _has_expired(self, key: bytes, ttl_ms: int) -> bool:
        """Whether ``key`` has a record, and not one written since the index noted it."""
        record = self.find_even_expired(key)
        return record is not None and not self._lives(record, unpack_stamp(record), ttl_ms)


def _end_of(prefix: bytes) -> bytes:
    """Return the first key behind all that begin with ``prefix``."""
    return prefix[:-1] + bytes([prefix[-1] + 1])


def _make_expiry(store: Store, ttl_ms: int) -> ExpiryIndex:
    width_ms = bucket_width(ttl_ms)
    return StoredExpiry(width_ms, store) if store.is_indexed_on_disk else MemoryExpiry(width_ms)


def _merge(first: Sequence[_Item], second: Iterator[_Item]) -> Iterator[_Item]:
    """Merge two key-ordered sequences that share no key."""
    if not first:
        return second
    return heapq.merge(first, second)
