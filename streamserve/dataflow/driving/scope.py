"""For which event, or batch of events, user code runs just now: what tables and windows answer to.

Instances of agents take turns on one thread, so whoever resumes one says first for what. With ``io=True`` each instance
is an asyncio task with a context of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Protocol, overload

import msgspec

from streamserve.dataflow.batch import RecordBatch, column_of
from streamserve.dataflow.planning.plan import GroupKey
from streamserve.errors import ConfigurationError, WrongPartition
from streamserve.state.pending import Pending
from streamserve.state.timers import TimerClock


class Scope(Protocol):
    """What user code works on, and what it has changed so far."""

    pending: Pending

    @property
    def part(self) -> str:
        """Return the part whose state user code works on."""
        ...

    @property
    def partitions(self) -> Sequence[int]:
        """Return the partitions whose keys may be iterated over, in order."""
        ...

    @property
    def windows(self) -> Mapping[str, Sequence[Any]]:
        """Return the windows' aggregates by name, as each row sees them."""
        ...

    def locate(self, key: bytes) -> GroupKey:
        """Return the group that has the state of ``key``, with ``pending`` set to the time of the key's row.

        Raises:
            WrongPartition: no record that user code was given has this key.
        """
        ...

    def row_of(self, key: bytes) -> int:
        """Return the row of the batch for which ``key`` is asked; raises as ``locate`` does."""
        ...


class _OfBatch:
    """What scopes of records have in common."""

    __slots__ = ()

    batch: RecordBatch

    @property
    def part(self) -> str:
        """Return the part of the batch."""
        return self.batch.part

    @property
    def windows(self) -> Mapping[str, Sequence[Any]]:
        """Return the windows' aggregates as the rows of the batch see them."""
        return self.batch.windows


class EventScope(_OfBatch, msgspec.Struct, eq=False):
    """One event: its tables hold the key of its record. ``record_of`` builds the record of a row."""

    batch: RecordBatch
    row: int
    key: bytes | None
    record_of: Callable[[RecordBatch, int], Any]
    pending: Pending

    @property
    def value(self) -> Any:
        """Return the event."""
        return self.batch.values[self.row]

    @property
    def record(self) -> Any:
        """Return the event's record.

        Raises:
            DecodeError: its key is not text.
        """
        return self.record_of(self.batch, self.row)

    @property
    def partitions(self) -> Sequence[int]:
        """Return the event's partition: which others are in the batch is a matter of chance."""
        return (self.batch.partitions[self.row],)

    def locate(self, key: bytes) -> GroupKey:
        """Return the group of the event."""
        if key != self.key:
            raise _foreign("the event's own")
        batch = self.batch
        return batch.part, batch.partitions[self.row]

    def row_of(self, key: bytes) -> int:
        """Return the row of the event."""
        self.locate(key)
        return self.row


class EventScopes(Sequence[EventScope]):
    """The events of a batch, each with a scope of its own, made anew whenever it is asked for."""

    def __init__(self, batch: RecordBatch, record_of: Callable[[RecordBatch, int], Any]) -> None:
        self._batch = batch
        self._record_of = record_of
        self._times_ms = batch.times_ms or [0] * len(batch)
        self._reached_ms = batch.reached_ms
        self._keys: list[bytes | None] = column_of(batch.records, "key")

    @overload
    def __getitem__(self, index: int) -> EventScope: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[EventScope]: ...
    def __getitem__(self, index: int | slice) -> EventScope | Sequence[EventScope]:
        if isinstance(index, slice):
            return [self[row] for row in range(*index.indices(len(self)))]
        pending = Pending(self._times_ms[index])
        if self._reached_ms is not None:
            pending.reached_ms = self._reached_ms[index]
        return EventScope(self._batch, index, self._keys[index], self._record_of, pending)

    def __len__(self) -> int:
        return len(self._batch)


class BatchScope(_OfBatch):
    """Rows that stand or fall together, of a batch agent or of a list: tables hold the keys of their records.

    A key that stands in rows of two partitions has a value in each, and nothing says which is meant: it is refused, and
    who took the rows together takes them again by halves, until each is in one of its own.
    """

    __slots__ = ("_by_key", "_rows", "_shared", "batch", "pending")

    def __init__(self, batch: RecordBatch, rows: Sequence[int]) -> None:
        self.batch = batch
        self.pending = Pending(0)
        self._rows = rows
        self._by_key: dict[bytes | None, int] = {}
        self._shared: set[bytes | None] = set()

    @property
    def partitions(self) -> Sequence[int]:
        """Return the partitions of the rows."""
        return sorted({self.batch.partitions[row] for row in self._rows})

    def locate(self, key: bytes) -> GroupKey:
        """Return the group of ``key``; of several rows with it, the last counts."""
        batch, row = self.batch, self._by_key.get(key)
        if row is None:
            row = self.row_of(key)
        if batch.times_ms is not None:
            self.pending.now_ms = batch.times_ms[row]
        if batch.reached_ms is not None:
            self.pending.reached_ms = batch.reached_ms[row]
        return batch.part, batch.partitions[row]

    def row_of(self, key: bytes) -> int:
        """Return the row of ``key``; of several with it, the last."""
        if not self._by_key:
            self._index()
        row = self._by_key.get(key)
        if row is None:
            raise _shared() if key in self._shared else _foreign("those of the batch's records")
        return row

    def _index(self) -> None:
        """Note the last row of each key, and which keys stand in rows of more than one partition."""
        records = self.batch.records
        self._by_key = {records[row].key(): row for row in self._rows}
        if len(self.partitions) > 1:
            partitions, by_key = self.batch.partitions, self._by_key
            keys = [(row, records[row].key()) for row in self._rows]
            self._shared = {key for row, key in keys if partitions[row] != partitions[by_key[key]]}
            self._by_key = {key: row for key, row in by_key.items() if key not in self._shared}


class TimerScope:
    """A key whose timer was due at ``at_ms`` by ``clock``: its tables hold this key, as of event time ``now_ms``."""

    __slots__ = ("_key", "_partition", "at_ms", "clock", "part", "pending")

    def __init__(self, part: str, partition: int, key: bytes, at_ms: int, clock: TimerClock, now_ms: int) -> None:
        self.part = part
        self._partition = partition
        self._key = key
        self.at_ms = at_ms
        self.clock = clock
        self.pending = Pending(now_ms)

    @property
    def partitions(self) -> Sequence[int]:
        """Return the partition of the key."""
        return [self._partition]

    @property
    def windows(self) -> Mapping[str, Sequence[Any]]:
        """Refuse: aggregates are as of an event's place.

        Raises:
            ConfigurationError: always.
        """
        raise ConfigurationError("windows answer at an event's place: a timer has none, so it cannot ask them")

    def locate(self, key: bytes) -> GroupKey:
        """Return the group of the timer's key."""
        if key != self._key:
            raise _foreign("the timer's own")
        return self.part, self._partition

    def row_of(self, key: bytes) -> int:
        """Return the one row that there is."""
        self.locate(key)
        return 0


def _shared() -> WrongPartition:
    return WrongPartition(
        "a key that stands in records of two partitions, taken together: its producers do not partition by key alone."
        " Regroup the stream by it first (source.group_by)."
    )


def _foreign(own: str) -> WrongPartition:
    return WrongPartition(
        f"a key other than {own}: it may live in another partition, with another worker. Regroup the stream by it first"
        " (source.group_by), or read a topic that is keyed by it."
    )


current: ContextVar[Scope | None] = ContextVar("streamserve_scope", default=None)
"""The scope of the user code that runs just now; ``None`` outside events."""


def finish_event() -> None:
    """Make final what the event that user code runs for has written, if there is one.

    Raises:
        AgentError: it changed a table's value in place.
    """
    scope = current.get()
    if scope is not None:
        scope.pending.commit()


@contextmanager
def within(scope: Scope) -> Generator[None]:
    """Let what runs in the block work on ``scope``."""
    token = current.set(scope)
    try:
        yield
    finally:
        current.reset(token)
