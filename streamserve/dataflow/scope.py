"""For which event, or batch of events, user code runs just now: what tables and windows answer to.

Instances of agents take turns on one thread, so whoever resumes one says first for what. With ``io=True`` each instance
is an asyncio task with a context of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple, Protocol

from streamserve.dataflow.batch import RecordBatch
from streamserve.errors import ConfigurationError, WrongPartition
from streamserve.state.pending import Pending


class Place(NamedTuple):
    """Where a key's state lives: in a partition of the part; and at which row of the batch it is asked for."""

    partition: int
    row: int


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

    def locate(self, key: bytes) -> Place:
        """Return where ``key`` is, with ``pending`` set to the time of its row.

        Raises:
            WrongPartition: no record that user code was given has this key.
        """
        ...


class _OfBatch:
    """What scopes of records have in common."""

    __slots__ = ("batch",)

    def __init__(self, batch: RecordBatch) -> None:
        self.batch = batch

    @property
    def part(self) -> str:
        """Return the part of the batch."""
        return self.batch.part

    @property
    def partitions(self) -> Sequence[int]:
        """Return the partitions of the batch."""
        return sorted(set(self.batch.partitions))

    @property
    def windows(self) -> Mapping[str, Sequence[Any]]:
        """Return the windows' aggregates as the rows of the batch see them."""
        return self.batch.windows


class EventScope(_OfBatch):
    """One event: its tables hold the key of its record. ``record_of`` builds the record of a row."""

    __slots__ = ("_record_of", "pending", "row")

    def __init__(self, batch: RecordBatch, row: int, record_of: Callable[[RecordBatch, int], Any]) -> None:
        self.batch = batch
        self.row = row
        self._record_of = record_of
        self.pending = Pending(batch.times_ms[row] if batch.times_ms is not None else 0)

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
        return self._record_of(self.batch, self.row)

    def locate(self, key: bytes) -> Place:
        """Return where the event's key is."""
        if self.batch.records[self.row].key() != key:
            raise _foreign("the event's own")
        return Place(self.batch.partitions[self.row], self.row)


class BatchScope(_OfBatch):
    """The rows of a batch agent, which stand or fall together: its tables hold the keys of their records."""

    __slots__ = ("_places", "_rows", "pending")

    def __init__(self, batch: RecordBatch, rows: Sequence[int]) -> None:
        super().__init__(batch)
        self.pending = Pending(0)
        self._rows = rows
        self._places: dict[bytes | None, Place] | None = None

    def locate(self, key: bytes) -> Place:
        """Return where ``key`` is; of several rows with it, the last counts."""
        if self._places is None:
            records, partitions = self.batch.records, self.batch.partitions
            self._places = {records[row].key(): Place(partitions[row], row) for row in self._rows}
        place = self._places.get(key)
        if place is None:
            raise _foreign("those of the batch's records")
        if self.batch.times_ms is not None:
            self.pending.now_ms = self.batch.times_ms[place.row]
        return place


class TimerScope:
    """A key whose timer is due at ``at_ms``: its tables hold this key, as of that time."""

    __slots__ = ("_key", "_partition", "part", "pending")

    def __init__(self, part: str, partition: int, key: bytes, at_ms: int) -> None:
        self.part = part
        self._partition = partition
        self._key = key
        self.pending = Pending(at_ms)

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

    def locate(self, key: bytes) -> Place:
        """Return where the timer's key is."""
        if key != self._key:
            raise _foreign("the timer's own")
        return Place(self._partition, 0)


def _foreign(own: str) -> WrongPartition:
    return WrongPartition(
        f"a key other than {own}: it may live in another partition, with another worker. Regroup the stream by it first"
        " (source.group_by), or read a topic that is keyed by it."
    )


current: ContextVar[Scope | None] = ContextVar("streamserve_scope", default=None)
"""The scope of the user code that runs just now; ``None`` outside events."""


@contextmanager
def within(scope: Scope) -> Generator[None]:
    """Let what runs in the block work on ``scope``."""
    token = current.set(scope)
    try:
        yield
    finally:
        current.reset(token)
