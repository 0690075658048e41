"""What flows between the steps: batches of decoded records in, messages and failures out."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

from streamserve.errors import RecordError
from streamserve.kafka.marks import Progress, TopicPartitionKey
from streamserve.records import Coordinates, Emission, Headers, RawRecord, ResultOrigin, Span, to_datetime
from streamserve.state.timers import TimerClock

T = TypeVar("T")

NEVER: Final = -(1 << 62)
"""Stands for a time of which nothing is known: before all others."""

Cause: TypeAlias = Coordinates | ResultOrigin | None
"""What led to a message: a record, a window's result, or nothing that a dead letter could stand for."""


def coordinates_of(record: RawRecord) -> Coordinates:
    """Return where ``record`` came from."""
    return Coordinates(record.topic() or "", record.partition() or 0, record.offset() or 0)


@dataclass(frozen=True, slots=True)
class Failure:
    """A record at fault: what becomes of it is its agent's policy."""

    record: RawRecord
    error: RecordError


@dataclass(frozen=True, slots=True)
class LostResult:
    """A result of a window that cannot be made or written: it becomes a dead letter that no record stands behind.

    ``key`` is that of the window's events, ``[start_ms, end_ms)`` its time in milliseconds since the epoch (UTC).
    """

    window: str
    key: bytes
    start_ms: int
    end_ms: int
    error: RecordError

    @property
    def place(self) -> str:
        """Return which result this is, but for its key."""
        return f"window {self.window!r} from {to_datetime(self.start_ms).isoformat()}"


@dataclass(frozen=True, slots=True)
class FailedTimer:
    """A key of a table for which the table's timer failed: it becomes a dead letter that no record stands behind.

    ``at_ms`` is when it was due by ``clock``, in milliseconds since the epoch (UTC).
    """

    table: str
    partition: int
    key: bytes
    clock: TimerClock
    at_ms: int
    error: RecordError

    @property
    def place(self) -> str:
        """Return which timer this is, but for its key."""
        at = to_datetime(self.at_ms).isoformat()
        return f"table {self.table!r}, partition {self.partition}, {at} of {self.clock} time"


Lost: TypeAlias = LostResult | FailedTimer
"""What fails without a record to set aside."""


class Run(NamedTuple):
    """Rows ``start`` to ``stop`` of a batch, which all come from one partition."""

    partition: int
    start: int
    stop: int


def column_of(records: Sequence[RawRecord], getter: str) -> list[Any]:
    """Return what the method ``getter`` gives for each record; it is looked up once for those of one type."""
    if not records:
        return []
    try:
        return list(map(getattr(type(records[0]), getter), records))
    except (AttributeError, TypeError):  # a join's: some were read just now, some kept
        return [getattr(record, getter)() for record in records]


def runs_of(partitions: Sequence[int]) -> list[Run]:
    """Return the runs of equal numbers.

    >>> runs_of([3, 3, 0])
    [Run(partition=3, start=0, stop=2), Run(partition=0, start=2, stop=3)]
    """
    runs: list[Run] = []
    start = 0
    for partition, rows in groupby(partitions):
        stop = start + len(list(rows))
        runs.append(Run(partition, start, stop))
        start = stop
    return runs


def spans_of(records: Sequence[RawRecord]) -> list[Span]:
    """Return the least and the largest offset of ``records`` in each partition."""
    offsets: dict[tuple[str, int], list[int]] = {}
    for record in records:
        at = coordinates_of(record)
        offsets.setdefault((at.topic, at.partition), []).append(at.offset)
    return [Span(topic, partition, min(of), max(of)) for (topic, partition), of in offsets.items()]


@dataclass(frozen=True, slots=True)
class Arrived:
    """Records that are being decoded (``Located``)."""

    records: Sequence[RawRecord]

    def spans(self) -> Sequence[Span]:
        """Return where they stand."""
        return spans_of(self.records)


@dataclass(slots=True)
class RecordBatch:
    """Decoded records of one part, in the order in which they are processed (per partition: the input's).

    The sequences are parallel. ``topics`` is one name where all rows share it. ``times_ms`` are event times in
    milliseconds since the epoch, present where the plan needs them. ``progress`` says how far each topic partition has
    come once the batch is processed, ``failures`` are the records that did not decode or came too late. ``watermarks``
    has, by partition and topic, the time before which everything is in; without it the rows tell. ``told_ms`` has,
    where rows were merged or sorted, the time before which everything of their group is in as their turn comes;
    ``reached_ms`` how far the group's watermark has come by then, which decides what is late and what has ended however
    records are batched. It is there where the part's state needs it. ``NEVER`` stands for nothing known. ``windows``
    has the aggregates of the part's windows as each row sees them.
    """

    part: str
    topics: str | Sequence[str]
    records: Sequence[RawRecord]
    values: Sequence[Any]
    partitions: Sequence[int]
    times_ms: Sequence[int] | None = None
    progress: Mapping[TopicPartitionKey, Progress] = field(default_factory=dict[TopicPartitionKey, Progress])
    failures: Sequence[Failure] = ()
    watermarks: Mapping[int, Mapping[str, int]] | None = None
    windows: dict[str, Sequence[Any]] = field(default_factory=dict[str, Sequence[Any]])
    told_ms: Sequence[int] | None = None
    reached_ms: Sequence[int] | None = None

    def __len__(self) -> int:
        return len(self.records)

    def select(self, wanted: frozenset[str]) -> RecordBatch:
        """Return the rows whose topic is in ``wanted``; itself when that is all of them."""
        topics = self.topics
        if isinstance(topics, str):
            return self if topics in wanted else self.take([])
        rows = [row for row, topic in enumerate(topics) if topic in wanted]
        return self if len(rows) == len(topics) else self.take(rows)

    def take(self, rows: Sequence[int]) -> RecordBatch:
        """Return the given rows as a batch of their own."""
        return RecordBatch(
            self.part,
            self.topics if isinstance(self.topics, str) else [self.topics[row] for row in rows],
            [self.records[row] for row in rows],
            [self.values[row] for row in rows],
            [self.partitions[row] for row in rows],
            None if self.times_ms is None else [self.times_ms[row] for row in rows],
            windows={name: [column[row] for row in rows] for name, column in self.windows.items()},
            reached_ms=None if self.reached_ms is None else [self.reached_ms[row] for row in rows],
        )

    def piece(self, start: int, stop: int) -> RecordBatch:
        """Return the rows from ``start`` to ``stop``; what is not of rows stays with the piece that ends the batch."""
        rows, is_last = slice(start, stop), stop == len(self)
        return RecordBatch(
            self.part,
            self.topics if isinstance(self.topics, str) else self.topics[rows],
            self.records[rows],
            self.values[rows],
            self.partitions[rows],
            None if self.times_ms is None else self.times_ms[rows],
            self.progress if is_last else {},
            self.failures if is_last else (),
            self.watermarks if is_last else None,
            reached_ms=None if self.reached_ms is None else self.reached_ms[rows],
        )

    def spans(self) -> Sequence[Span]:
        """Return where its rows stand in Kafka."""
        return spans_of(self.records)

    def runs(self) -> list[Run]:
        """Return the runs of rows from one partition; records come in long runs, so there are few."""
        return runs_of(self.partitions)


@dataclass(frozen=True, slots=True)
class InAgent:
    """A batch that an agent works on (``Located``); ``running`` gives the records whose code runs now, if any is."""

    batch: RecordBatch
    running: Callable[[], Sequence[RawRecord]]

    def spans(self) -> Sequence[Span]:
        """Return where the records that run stand, or else those of the batch."""
        return spans_of(self.running() or self.batch.records)


@dataclass(frozen=True, slots=True)
class InputRows:
    """The rows of a batch that messages came from, one for each message; asked only when needed."""

    batch: RecordBatch
    rows: Sequence[int]

    def __call__(self) -> list[Coordinates]:
        """Return where each message's input came from."""
        return [coordinates_of(self.batch.records[row]) for row in self.rows]

    def partitions(self) -> list[int]:
        """Return the partition of each message's input."""
        return list(map(self.batch.partitions.__getitem__, self.rows))

    def times_ms(self) -> list[int]:
        """Return the event time of each message's input; the record's timestamp where event times are not read."""
        times = self.batch.times_ms
        if times is not None:
            return list(map(times.__getitem__, self.rows))
        return [self.batch.records[row].timestamp()[1] for row in self.rows]


@dataclass(frozen=True, slots=True)
class OutputColumns:
    """Messages for one topic, and the input of each.

    ``timestamps_ms`` and ``headers`` are those of each message, or empty.
    """

    topic: str
    values: Sequence[bytes | None]
    keys: Sequence[bytes | None]
    origins: InputRows
    timestamps_ms: Sequence[int] = ()
    headers: Sequence[Headers] = ()

    def without(self, refused: Collection[Coordinates]) -> OutputColumns:
        """Return the messages whose input is not in ``refused``."""
        origins = self.origins()
        kept = [row for row, origin in enumerate(origins) if origin not in refused]
        if len(kept) == len(origins):
            return self
        return replace(
            self,
            values=_picked(self.values, kept),
            keys=_picked(self.keys, kept),
            origins=InputRows(self.origins.batch, _picked(self.origins.rows, kept)),
            timestamps_ms=_picked(self.timestamps_ms, kept),
            headers=_picked(self.headers, kept),
        )


def _picked(column: Sequence[T], rows: Sequence[int]) -> list[T]:
    return [column[row] for row in rows] if column else []


@dataclass(slots=True)
class StepOutput:
    """What a step made of a batch."""

    step: str
    columns: list[OutputColumns] = field(default_factory=list[OutputColumns])
    messages: list[tuple[Emission, Cause]] = field(default_factory=list[tuple[Emission, "Cause"]])
    failures: list[Failure] = field(default_factory=list[Failure])
    lost: list[Lost] = field(default_factory=list["Lost"])


@dataclass(frozen=True, slots=True)
class DueTimers:
    """Keys of a table in one partition of a part whose timers of ``clock`` are due, and when, in that order.

    Where ``clock`` is not that of event time, ``time_ms`` is the event time as of which they run, if one is known.
    """

    part: str
    partition: int
    table: str
    keys: Sequence[tuple[bytes, int]]
    clock: TimerClock = "event"
    time_ms: int | None = None


@dataclass(frozen=True, slots=True)
class Tick:
    """A timer is due; ``partition`` is ``None`` for one that each worker runs."""

    timer: str
    partition: int | None
