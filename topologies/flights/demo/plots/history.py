"""What the drift and the performance topic say of a run, put together over partitions."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any, Final, TypeVar

import msgspec

from streamserve.monitoring.divergence import population_stability_index
from streamserve.testing.checks import iter_topic
from topologies.flights.reference import MODELS

__all__ = ["History", "Reported", "Statistics", "baseline_of", "divergence_by_week", "mean_by_day", "read_history"]

_QUIET: Final[Mapping[str, Any]] = {"log_level": 3}
_WEEK: Final = 7
_OTHER: Final = "\0other"
"""The bin of categories too rare to be listed."""


class Histogram(msgspec.Struct, frozen=True):
    """Counts on the bins of the training data."""

    counts: tuple[int, ...]


class Statistics(msgspec.Struct, frozen=True, tag_field="kind", tag="statistics"):
    """One column on one day (UTC) in one partition; ``slice`` is ``None`` for all of its rows."""

    version: str
    column: str
    slice: str | None
    window_start: datetime
    count: int
    mean: float | None = None
    histogram: Histogram | None = None
    categories: Mapping[str, int] | None = None
    other: int | None = None

    @property
    def day(self) -> date:
        """The day that it covers."""
        return self.window_start.date()

    @property
    def bins(self) -> Counter[str]:
        """Counts by bin, which are told apart by number or category."""
        if self.histogram is not None:
            return Counter({str(number): count for number, count in enumerate(self.histogram.counts)})
        return Counter({**(self.categories or {}), _OTHER: self.other or 0})


class Reported(msgspec.Struct, frozen=True, tag_field="kind", tag="metrics"):
    """What the app reports of a model in one partition, of predictions of a month once all of them are judged.

    ``window_start`` is ``None`` in reports of all months together.
    """

    version: str | None
    slice: str | None
    window_start: datetime | None
    metrics: Mapping[str, float]


class _Alarm(msgspec.Struct, tag_field="kind", tag="alarm"):
    """Read elsewhere."""


class _Match(msgspec.Struct, tag_field="kind", tag="match"):
    """Read elsewhere."""


_Kind = TypeVar("_Kind", Statistics, Reported)
_DECODE_DRIFT = msgspec.json.Decoder(Statistics | _Alarm).decode
_DECODE_PERFORMANCE = msgspec.json.Decoder(Reported | _Match).decode


@dataclass(frozen=True, slots=True)
class History:
    """Statistics by day and reports by month, of one version and of all rows, each for every partition."""

    version: str
    statistics: Sequence[Statistics]
    reports: Sequence[Reported]

    @classmethod
    def of(cls, version: str, *, drift: Iterable[bytes], performance: Iterable[bytes]) -> History:
        """Keep what there is of a version among the values of the two topics."""
        reports = _of_all_rows(map(_DECODE_PERFORMANCE, performance), Reported, version)
        return cls(
            version=version,
            statistics=_of_all_rows(map(_DECODE_DRIFT, drift), Statistics, version),
            reports=[report for report in reports if report.window_start is not None],
        )


def read_history(brokers: str, version: str) -> History:
    """Read what the app has written of a version of its model, as a ``read_committed`` reader.

    Raises:
        OutageError: a topic cannot be read to its end.
    """
    return History.of(
        version, drift=_values(brokers, "flights-drift"), performance=_values(brokers, "flights-performance")
    )


def baseline_of(version: str) -> Mapping[str, Any]:
    """Return what the training data of a version looked like, by column, from its package."""
    return json.loads((MODELS / "delay" / version / "manifest.json").read_bytes())["baseline"]


def mean_by_day(statistics: Iterable[Statistics], column: str) -> dict[date, float]:
    """Return the mean of a numeric column over all partitions, oldest day first; days without values are left out."""
    sums: defaultdict[date, float] = defaultdict(float)
    counts: Counter[date] = Counter()
    for each in statistics:
        if each.column == column and each.mean is not None:
            sums[each.day] += each.mean * each.count
            counts[each.day] += each.count
    return {day: sums[day] / counts[day] for day in sorted(counts)}


def divergence_by_week(statistics: Sequence[Statistics], baseline: Mapping[str, Any]) -> dict[str, list[float]]:
    """Return each column's population stability index by week from the first day on; the last takes in what is left.

    The days and partitions of a week are added up first: a day alone is too small for the index, and too much alike in
    itself for such things as temperature. Columns without a baseline, or without values in some week, are left out.
    """
    first, last = min(each.day for each in statistics), max(each.day for each in statistics)
    weeks = max(1, ((last - first).days + 1) // _WEEK)
    totals: defaultdict[str, list[Counter[str]]] = defaultdict(lambda: [Counter() for _ in range(weeks)])
    for each in statistics:
        totals[each.column][min((each.day - first).days // _WEEK, weeks - 1)].update(each.bins)
    found = {
        column: [_index(baseline[column], week) for week in totals[column]] for column in totals if column in baseline
    }
    return {column: [index for index in row if index is not None] for column, row in found.items() if None not in row}


def _index(trained: Mapping[str, Any], actual: Counter[str]) -> float | None:
    if trained["kind"] == "numeric":
        expected = {str(number): count for number, count in enumerate(trained["counts"])}
    else:
        expected = {**trained["categories"], _OTHER: trained["other"]}
    return population_stability_index(list(expected.values()), [actual[name] for name in expected])


def _values(brokers: str, topic: str) -> Iterator[bytes]:
    return (record.value or b"" for record in iter_topic(brokers, topic, config=_QUIET))


def _of_all_rows(messages: Iterable[object], kind: type[_Kind], version: str) -> list[_Kind]:
    """Return messages of a kind and version that are not of a slice."""
    return [each for each in messages if isinstance(each, kind) and each.version == version and each.slice is None]
