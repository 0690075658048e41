"""What travels: records in, outcomes out, predictions between.

A *record* is Kafka's envelope, an *event* its value, a *row* a model's input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Generic, Literal, NamedTuple, Protocol, TypeAlias

import msgspec
from typing_extensions import TypeVar

Scalar: TypeAlias = str | int | float | bool | datetime | None
"""What a feature, a model input or a label can be."""

Role: TypeAlias = Literal["champion", "canary", "shadow", "fallback"]
"""The part a model version plays when it answers."""

Headers: TypeAlias = Sequence[tuple[str, bytes | None]]

V_co = TypeVar("V_co", covariant=True)
K_co = TypeVar("K_co", covariant=True, default=str)
P_co = TypeVar("P_co", covariant=True)
A_co = TypeVar("A_co", covariant=True)


def to_datetime(epoch_ms: int) -> datetime:
    """Return the UTC datetime of ``epoch_ms``; beyond the years 1 to 9999 the nearest one that there is.

    Times come with the records, some in the wrong unit: none may end what shows it.

    >>> to_datetime(0).isoformat()
    '1970-01-01T00:00:00+00:00'
    >>> to_datetime(1_700_000_000_000_000_000).isoformat()
    '9999-12-31T23:59:59.999999+00:00'
    """
    try:
        return datetime.fromtimestamp(epoch_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):  # which of them is the platform's choice
        return datetime.max.replace(tzinfo=UTC) if epoch_ms > 0 else datetime.min.replace(tzinfo=UTC)


def to_epoch_ms(instant: datetime) -> int:
    """Return milliseconds since the epoch; a datetime without a zone is taken as UTC.

    >>> to_epoch_ms(datetime(1970, 1, 1, 0, 0, 1))
    1000
    """
    aware = instant if instant.tzinfo is not None else instant.replace(tzinfo=UTC)
    return round(aware.timestamp() * 1000)


class RawRecord(Protocol):
    """A record as the Kafka client delivers it; ``confluent_kafka.Message`` fits."""

    def value(self) -> bytes | None:
        """Return the payload, ``None`` for a tombstone."""

    def key(self) -> bytes | None:
        """Return the key."""

    def topic(self) -> str | None:
        """Return the topic's name."""

    def partition(self) -> int | None:
        """Return the partition's number."""

    def offset(self) -> int | None:
        """Return the record's offset."""

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of timestamp and milliseconds since the epoch."""
        ...

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return the headers in order."""


class Coordinates(NamedTuple):
    """Where a record came from: topic, partition, offset."""

    topic: str
    partition: int
    offset: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.offset}"


class Span(NamedTuple):
    """Records of one partition that are worked on together: those with offsets from ``first`` to ``last``."""

    topic: str
    partition: int
    first: int
    last: int

    def __str__(self) -> str:
        return f"{self.topic}[{self.partition}]@{self.first}" + (f"-{self.last}" if self.last > self.first else "")


class Located(Protocol):
    """What is worked on, and can say where it came from when somebody asks, from any thread."""

    def spans(self) -> Sequence[Span]:
        """Return the records that are worked on now, one span per partition."""
        ...


class Origin(NamedTuple):
    """Whose doing a message is: the step, and the record that it had at hand."""

    step: str
    at: Coordinates


class ResultOrigin(NamedTuple):
    """Whose doing a message of ``size`` bytes is that a window came to, for a key and from a time on.

    Times are in milliseconds since the epoch (UTC). Of what a table's timer made for a key, ``window`` is the timer's
    step and the message's topic, each of which has a limit of its own, and ``start_ms`` 0: when it was due makes no
    difference to what brokers take.
    """

    window: str
    key: bytes
    start_ms: int
    size: int


@dataclass(frozen=True, slots=True)
class Record(Generic[V_co, K_co]):
    """One record of a topic, its value and key decoded.

    ``timestamp`` is the record's Kafka timestamp, in UTC.
    """

    value: V_co
    key: K_co | None
    timestamp: datetime
    topic: str
    partition: int
    offset: int
    headers: Headers = ()


class Prediction(msgspec.Struct, Generic[P_co], frozen=True, gc=False):
    """A model's answer with its lineage."""

    output: P_co
    model: str
    version: str
    role: Role = "champion"


class Binary(msgspec.Struct, frozen=True, gc=False):
    """Answer of a two-class model: ``probability`` is that of the positive class."""

    label: bool
    probability: float


class Classification(msgspec.Struct, frozen=True):
    """Answer of a model of many classes."""

    label: str
    probabilities: Mapping[str, float]


class Regression(msgspec.Struct, frozen=True, gc=False):
    """Answer of a model of a quantity."""

    value: float


@dataclass(frozen=True, slots=True)
class Window(Generic[A_co]):
    """The result of a window ``[start, end)`` in UTC: the aggregate of one key's events.

    ``keys`` holds the record's key and, behind it, the fields that divide it further.
    """

    keys: tuple[str, ...]
    start: datetime
    end: datetime
    value: A_co

    @property
    def key(self) -> str:
        """Return the record's key."""
        return self.keys[0]


@dataclass(frozen=True, slots=True)
class Emission:
    """One message to produce; ``timestamp_ms`` of 0 leaves the time to the producer."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    partition: int | None = None
    timestamp_ms: int = 0
