"""Live AUC by month, as the app reports it, and the same recomputed from the matches that stand beside the reports.

The app reports each partition by itself, and a month once all of its predictions are settled: three days after its end,
in event time. So the months here are UTC's, and the last one of a run has no report yet.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple, TypeAlias

import msgspec

from topologies.flights.demo.outcomes import LabelOutcome
from topologies.flights.report import auc

__all__ = ["TOLERANCE", "Area", "PerformanceValue", "Quality"]

TOLERANCE: Final = 0.001
"""How far a reported AUC, which is kept in bins, may be from the exact one."""

Place: TypeAlias = tuple[str, int]
"""A month (``2013-01``) and a partition."""


class Bin(msgspec.Struct, frozen=True):
    """How many scores there are in an interval, and which share of them was of late flights."""

    count: int
    truth: float


class PerformanceValue(LabelOutcome, frozen=True):
    """A value of the performance topic: a match, or metrics of one partition (``kind`` is ``metrics``).

    ``window_start`` is ``None`` in metrics of all time; ``version`` and ``slice`` are in those of all rows.
    """

    event_time: str | None = None
    partition: int = 0
    version: str | None = None
    slice: str | None = None
    window_start: str | None = None
    metrics: Mapping[str, float] = msgspec.field(default_factory=dict[str, float])
    calibration: Sequence[Bin] = ()


class Area(NamedTuple):
    """An AUC, ``None`` where a class is missing, and how many pairs of a late and a punctual flight it is of.

    Areas of partitions are averaged by these pairs, which leaves out pairs across partitions: of a month of flights
    that changes the fourth digit.
    """

    auc: float | None
    pairs: int


@dataclass(slots=True)
class Quality:
    """What the app reports of months and what its matches come to, both by month and partition."""

    reported: dict[Place, Area] = field(default_factory=dict[Place, Area])
    _told: Counter[Place] = field(default_factory=Counter[Place])
    _judged: defaultdict[Place, list[tuple[bool, float]]] = field(default_factory=lambda: defaultdict(list))
    _given_up: dict[int, str] = field(default_factory=dict[int, str])

    def add(self, value: PerformanceValue, partition: int) -> None:
        """Take in a value from a partition of the topic; matches are in that of their label."""
        if value.kind == "match":
            self._add_match(value, partition)
        elif value.version is None and value.slice is None and value.window_start and value.calibration:
            place = value.window_start[:7], value.partition
            late = round(sum(each.count * each.truth for each in value.calibration))
            pairs = late * (sum(each.count for each in value.calibration) - late)
            self.reported[place] = Area(value.metrics.get("ROCAUC"), pairs)
            self._told[place] += 1

    def _add_match(self, value: PerformanceValue, partition: int) -> None:
        month = (value.event_time or "")[:7]
        if value.status == "unlabelled":
            self._given_up[partition] = max(month, self._given_up.get(partition, month))
        elif value.status == "matched" and value.truth is not None and value.score is not None:
            self._judged[month, partition].append((value.truth, value.score))

    @property
    def recomputed(self) -> dict[Place, Area]:
        """What the matches come to."""
        return {place: _area(pairs) for place, pairs in sorted(self._judged.items())}

    @property
    def live_auc(self) -> dict[str, float | None]:
        """AUC by month over all partitions, from the reports."""
        return _by_month(self.reported)

    @property
    def recomputed_auc(self) -> dict[str, float | None]:
        """The same for the same months, from the matches."""
        return _by_month({place: area for place, area in self.recomputed.items() if place in self.reported})

    @property
    def misreported(self) -> int:
        """Months of a partition whose report is not what the matches say, came twice, or did not come.

        A month has to be reported when a prediction of a later one was given up.
        """
        expected = self.recomputed
        wrong = {place for place, area in self.reported.items() if not _agree(area, expected.get(place))}
        wrong |= {place for place, times in self._told.items() if times > 1}
        due = {place for place in expected if place[0] < self._given_up.get(place[1], "")}
        return len(wrong | (due - self.reported.keys()))


def _area(pairs: Sequence[tuple[bool, float]]) -> Area:
    truths, scores = [truth for truth, _ in pairs], [score for _, score in pairs]
    return Area(auc(truths, scores), sum(truths) * (len(truths) - sum(truths)))


def _agree(reported: Area, expected: Area | None) -> bool:
    if expected is None or reported.pairs != expected.pairs:
        return False
    if reported.auc is None or expected.auc is None:
        return reported.auc is expected.auc
    return abs(reported.auc - expected.auc) <= TOLERANCE


def _by_month(areas: Mapping[Place, Area]) -> dict[str, float | None]:
    months = sorted({month for month, _ in areas})
    return {month: _mean(area for place, area in areas.items() if place[0] == month) for month in months}


def _mean(areas: Iterator[Area]) -> float | None:
    known = [(area.auc, area.pairs) for area in areas if area.auc is not None]
    pairs = sum(number for _, number in known)
    return sum(value * number for value, number in known) / pairs if pairs else None
