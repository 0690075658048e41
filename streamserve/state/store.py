"""The port of a store, bytes to bytes, and the one that keeps everything in memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

__all__ = ["MemoryStore", "Store"]


class Store(Protocol):
    """Keeps the records of one table of one partition group.

    A store is a copy of a changelog, never the truth: it may lose everything at any time but while it is open.
    """

    @property
    def opened_at(self) -> int | None:
        """The changelog offset from which to go on loading; ``None`` when the store began empty."""
        ...

    @property
    def is_indexed_on_disk(self) -> bool:
        """Whether indexes belong into the store too, since it may outgrow memory and outlive the process."""
        ...

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, ``None`` where there is none."""
        ...

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, in the order of ``keys``."""
        ...

    def write(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Put each value under its key, in order, later ones winning; ``None`` deletes."""
        ...

    def items(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in byte order of keys, as the store is now: later writes do not show."""
        ...

    def estimated_size(self) -> int:
        """Return the number of records: exact in memory, an estimate on disk."""
        ...

    def clear(self) -> None:
        """Delete everything; ``opened_at`` is ``None`` afterwards."""
        ...

    def close(self, clean_at: int | None) -> None:
        """End the use of the store.

        ``clean_at`` promises that it holds the changelog exactly up to, without, that offset; ``None`` gives it up.
        """
        ...


class MemoryStore:
    """A dictionary: point access is a hash look-up, ``items`` first sorts the keys of the range.

    A record of 100 bytes takes about 240 bytes of memory.

    >>> store = MemoryStore()
    >>> store.write([b"b", b"a", b"b"], [b"1", b"2", None])
    >>> list(store.items()), store.get(b"b"), store.estimated_size()
    ([(b'a', b'2')], None, 1)
    """

    opened_at: int | None = None
    is_indexed_on_disk: bool = False

    def __init__(self) -> None:
        self._records: dict[bytes, bytes] = {}

    def get(self, key: bytes) -> bytes | None:
        """Return the value of ``key``, ``None`` where there is none."""
        return self._records.get(key)

    def get_many(self, keys: Sequence[bytes]) -> list[bytes | None]:
        """Return the value of each key, in the order of ``keys``."""
        return list(map(self._records.get, keys))

    def write(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Put each value under its key, in order, later ones winning; ``None`` deletes."""
        records = self._records
        for key, value in zip(keys, values, strict=True):
            if value is None:
                records.pop(key, None)
            else:
                records[key] = value

    def items(self, start: bytes = b"", stop: bytes | None = None) -> Iterator[tuple[bytes, bytes]]:
        """Iterate over ``start <= key < stop`` in byte order of keys, as the store is now: later writes do not show."""
        keys = [key for key in list(self._records) if key >= start and (stop is None or key < stop)]
        return iter([(key, self._records[key]) for key in sorted(keys)])

    def estimated_size(self) -> int:
        """Return the number of records."""
        return len(self._records)

    def clear(self) -> None:
        """Delete everything."""
        self._records.clear()

    def close(self, clean_at: int | None) -> None:
        """Let go of the records, whatever ``clean_at`` says."""
        del clean_at
        self._records.clear()
