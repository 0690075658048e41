"""One table of the online store with what is known beyond it: cached rows, and pushed rows not yet written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, NamedTuple, Protocol

from streamserve.clock import Clock
from streamserve.features.cache import RowCache, drop_first
from streamserve.features.rows import UNKNOWN_MS, Key, ViewRow


class PushedRow(NamedTuple):
    """A row on its way to the online store: as reads see it, and as the store takes it."""

    key: Key
    row: ViewRow
    encoded: Any


class OnlineTable(Protocol):
    """One feature view in an online store, a batch at a time; ``features`` is the order of a row's values."""

    @property
    def features(self) -> tuple[str, ...]:
        """Return the names of the features that a row holds."""
        ...

    def read(self, keys: Sequence[Key]) -> list[ViewRow]:
        """Return the rows of ``keys``, in their order."""
        ...

    def encode(self, rows: Sequence[Mapping[str, object]]) -> list[PushedRow]:
        """Turn ``rows`` into what the table holds; raise ``FeatureRowError`` if one cannot be."""
        ...

    def write(self, rows: Sequence[PushedRow]) -> None:
        """Write ``rows``, one per entity."""
        ...


@dataclass(frozen=True, slots=True)
class Accepted:
    """What became of pushed rows: ``rows`` will be written, ``stale`` were no newer than what is known."""

    rows: int
    stale: int


class TableOverlay:
    """Reads through a cache, and sees pushed rows before they are written.

    A pushed row is left out unless it is newer than the newest row known of its entity: pushed earlier, or read from
    the store when an entity is first pushed. The store's own precision of time limits that: Feast's SQLite store keeps
    whole seconds. Two processes that push the same entity at once are not ordered.
    """

    def __init__(self, online: OnlineTable, *, cached_for: timedelta, max_rows: int, clock: Clock) -> None:
        self._online = online
        self.features = online.features
        self._cache = RowCache(max_age=cached_for, max_rows=max_rows, clock=clock)
        self._max_rows = max_rows
        self._pending: dict[Key, PushedRow] = {}
        self._newest_ms: dict[Key, int] = {}

    @property
    def pending(self) -> int:
        """Return how many pushed rows wait to be written."""
        return len(self._pending)

    def rows(self, keys: Sequence[Key]) -> tuple[list[ViewRow], int]:
        """Return the rows of ``keys`` and how many of them the store was asked for, each entity once."""
        known, missing = self._cache.lookup(dict.fromkeys(keys))
        if self._pending:
            pushed = {key: self._pending[key].row for key in dict.fromkeys(keys) if key in self._pending}
            known |= pushed
            missing = [key for key in missing if key not in pushed]
        if not missing:
            return [known[key] for key in keys], 0
        fetched = dict(zip(missing, self._online.read(missing), strict=True))
        self._cache.put(fetched)
        known |= fetched
        return [known[key] for key in keys], sum(key in fetched for key in keys)

    def push(self, rows: Sequence[Mapping[str, object]]) -> Accepted:
        """Let later reads see ``rows``: all of them that are new, or none if one cannot be encoded."""
        encoded = self._online.encode(rows)
        self._learn_times([pushed.key for pushed in encoded])
        stale = 0
        for pushed in encoded:
            if pushed.row.event_ms <= self._newest_ms[pushed.key]:
                stale += 1
                continue
            self._newest_ms[pushed.key] = pushed.row.event_ms
            self._pending[pushed.key] = pushed
        drop_first(self._newest_ms, self._max_rows)
        return Accepted(rows=len(encoded) - stale, stale=stale)

    def flush(self) -> int:
        """Write the newest pushed row of each entity, in one call, and return how many there were.

        Should the store fail, everything stays to be written by the next call.
        """
        if not self._pending:
            return 0
        batch = list(self._pending.values())
        self._online.write(batch)
        self._cache.put({pushed.key: pushed.row for pushed in batch})
        self._pending.clear()
        return len(batch)

    def _learn_times(self, keys: Sequence[Key]) -> None:
        """Find out the newest time of entities that were not pushed before."""
        new = [key for key in dict.fromkeys(keys) if key not in self._newest_ms]
        rows, _ = self.rows(new)
        for key, row in zip(new, rows, strict=True):
            self._newest_ms[key] = -UNKNOWN_MS if row.event_ms == UNKNOWN_MS else row.event_ms
