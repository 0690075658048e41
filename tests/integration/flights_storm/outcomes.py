"""What the performance topic holds: the outcomes of the label join, and reports of how good predictions were.

Outcomes are taken as they stand there; that they are the right ones is judged elsewhere.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import NamedTuple

import msgspec

from streamserve.testing.reading import iter_topic
from tests.integration.flights_storm.partitions import partition_of

__all__ = ["Outcome", "Performance", "Report", "Scope", "month_end_ms", "month_of", "read_performance"]


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Scope(NamedTuple):
    """Which predictions: of a model, of a version (``None``: all), of a slice (``None``: all)."""

    model: str | None
    version: str | None = None
    slice: str | None = None


class Outcome(msgspec.Struct, tag_field="kind", tag="match"):
    """What became of a prediction, a label or both."""

    key: str
    status: str
    early: bool
    truth: bool | None
    score: float | None
    model: str | None
    version: str | None
    event_time: datetime | None
    label_time: datetime | None

    @property
    def month(self) -> int:
        """The month that it belongs to: the prediction's, or the label's where there is no prediction."""
        return _month(self.event_time or self.label_time or _EPOCH)

    @property
    def label_ms(self) -> int:
        """When the label came, in event time."""
        return _ms(self.label_time)

    @property
    def scopes(self) -> tuple[Scope, ...]:
        """What it counts for."""
        if self.model is None:
            return (Scope(None),)
        return Scope(self.model), Scope(self.model, self.version)


class Report(msgspec.Struct, tag_field="kind", tag="metrics"):
    """How good the predictions of a scope were, in a month or, without ``window_start``, since the beginning."""

    model: str | None
    version: str | None
    slice: str | None
    partition: int
    window_start: datetime | None
    window_end: datetime | None
    counts: dict[str, int]
    pairs: int
    metrics: dict[str, float]
    calibration: list[dict[str, float]]
    after_close: int

    @property
    def scope(self) -> Scope:
        """What it is about."""
        return Scope(self.model, self.version, self.slice)

    @property
    def month(self) -> int | None:
        """The month that it is about, in months since January 1970."""
        return None if self.window_start is None else _month(self.window_start)

    @property
    def outcomes(self) -> int:
        """How many outcomes it counts; early ones count among the matched."""
        return sum(self.counts.values()) - self.counts.get("early", 0)


@dataclass(frozen=True, slots=True)
class Performance:
    """Outcomes and reports by partition of the label join, in their order."""

    outcomes: Mapping[int, Sequence[Outcome]]
    reports: Mapping[int, Sequence[Report]]


def read_performance(brokers: str) -> Performance:
    """Return what the performance topic holds; outcomes are keyed as labels are, so they stay within a partition."""
    decode = msgspec.json.Decoder(Outcome | Report).decode
    outcomes: defaultdict[int, list[Outcome]] = defaultdict(list)
    reports: defaultdict[int, list[Report]] = defaultdict(list)
    for record in iter_topic(brokers, "flights-performance"):
        message = decode(record.value or b"")
        if isinstance(message, Outcome):
            outcomes[partition_of(message.key)].append(message)
        else:
            reports[message.partition].append(message)
    return Performance(outcomes, reports)


def month_of(time_ms: int) -> int:
    """Return the calendar month (UTC) of an instant, in months since January 1970.

    >>> month_of(32 * 24 * 3600 * 1000)
    1
    """
    return _month(datetime.fromtimestamp(time_ms / 1000, UTC))


def month_end_ms(month: int) -> int:
    """Return the instant at which a month is over.

    >>> month_of(month_end_ms(516)) - month_of(month_end_ms(516) - 1)
    1
    """
    return _ms(datetime(1970 + (month + 1) // 12, (month + 1) % 12 + 1, 1, tzinfo=UTC))


def _month(instant: datetime) -> int:
    """Return the month of an instant that is given in UTC, as all are on the topic."""
    return (instant.year - 1970) * 12 + instant.month - 1


def _ms(instant: datetime | None) -> int:
    return 0 if instant is None else round(instant.timestamp() * 1000)
