"""Rows read from the online store, kept for a stated time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from itertools import islice
from typing import Any

from streamserve.clock import Clock, SystemClock
from streamserve.features.rows import Key, ViewRow


class RowCache:
    """The rows of one table by entity, those that were not found included.

    A row is answered for less than ``max_age`` of processing time after it was put in. Of more than ``max_rows`` rows
    the ones put in first go first: with one age for all, these are the ones that expire next.

    >>> from streamserve.clock import ManualClock
    >>> from streamserve.features.rows import row_of
    >>> clock = ManualClock()
    >>> cache = RowCache(max_age=timedelta(seconds=1), clock=clock)
    >>> cache.put({"JFK": row_of(["wind"], {"wind": 3.5}, event_ms=0)})
    >>> cache.lookup(["JFK", "LGA"])[1]
    ['LGA']
    >>> clock.advance(1)
    >>> cache.lookup(["JFK"])[1]
    ['JFK']
    """

    def __init__(self, *, max_age: timedelta, max_rows: int = 100_000, clock: Clock | None = None) -> None:
        self._max_age = max_age.total_seconds()
        self._max_rows = max_rows
        self._clock = clock or SystemClock()
        self._entries: dict[Key, tuple[float, ViewRow]] = {}

    def __len__(self) -> int:
        return len(self._entries)

    def lookup(self, keys: Iterable[Key]) -> tuple[dict[Key, ViewRow], list[Key]]:
        """Return the rows of ``keys``, which are distinct, that are fresh, and the keys of the others."""
        now = self._clock.monotonic()
        entries = self._entries
        fresh: dict[Key, ViewRow] = {}
        missing: list[Key] = []
        for key in keys:
            entry = entries.get(key)
            if entry is not None and now < entry[0]:
                fresh[key] = entry[1]
            else:
                missing.append(key)
        return fresh, missing

    def put(self, rows: Mapping[Key, ViewRow]) -> None:
        """Keep ``rows`` from now on, in place of older ones of the same entities."""
        if not self._max_age:
            return
        expires = self._clock.monotonic() + self._max_age
        for key, row in rows.items():
            self._entries.pop(key, None)
            self._entries[key] = (expires, row)
        drop_first(self._entries, self._max_rows)


def drop_first(entries: dict[Key, Any], limit: int) -> None:
    """Shrink ``entries`` to ``limit``, dropping what was put in first."""
    for key in list(islice(entries, max(0, len(entries) - limit))):
        del entries[key]
