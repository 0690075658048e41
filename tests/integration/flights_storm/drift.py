"""The drift topic, recomputed from the rows that were scored: statistics by window and slice, detectors, alarms.

What is compared exactly, sums and what follows from them up to rounding: every figure of every closed window but two,
and every alarm with its row. The two that depend on which rows a batch held when it closed a window:

- Quantiles come from a sketch whose blocks begin where the window before was closed: they have to be values of the
  window whose rank is off by no more than the sketch's bound.
- Detectors follow the order of arrival, so what is told of them with a window may already know rows of the next. There
  has to be a place in the log, at the window's end or later, at which detectors that were fed from its beginning on
  have all of the figures told, those of both columns at once. ADWIN's width makes it a single place.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
import numpy as np

from streamserve.testing.reading import iter_topic
from tests.integration.flights_storm.detection import Alarm, Running, State
from tests.integration.flights_storm.figures import DAY_MS, Baseline, Figures, describe_days, is_quantile
from tests.integration.flights_storm.findings import Finding, alike, compare
from tests.integration.flights_storm.scored import ScoredRows

__all__ = ["Told", "judge_drift", "read_drift"]

Window: TypeAlias = tuple[int, int, str, str | None]
"""Partition, day from the epoch on, column, slice."""

_SLICED = "origin"
_COMMON = {"model": "delay", "late": 0}


class Told(msgspec.Struct):
    """A message of the drift topic: an alarm, or the statistics of a column in a window."""

    kind: str
    model: str
    version: str
    column: str
    partition: int
    slice: str | None = None
    window_start: datetime | None = None
    window_end: datetime | None = None
    late: int = 0
    count: int = 0
    nulls: int = 0
    mean: float | None = None
    variance: float | None = None
    minimum: float | None = None
    maximum: float | None = None
    quantiles: dict[float, float] = msgspec.field(default_factory=dict[float, float])
    histogram: dict[str, list[float]] | None = None
    categories: dict[str, int] | None = None
    other: int | None = None
    psi: float | None = None
    detectors: list[dict[str, Any]] = msgspec.field(default_factory=list[dict[str, Any]])
    detector: str = ""
    event_time: datetime | None = None
    ordinal: int = -1

    @property
    def day(self) -> int:
        """The window, in days from the epoch on."""
        return _ms(self.window_start) // DAY_MS

    @property
    def place(self) -> Window:
        """What the statistics are of."""
        return self.partition, self.day, self.column, self.slice


def read_drift(brokers: str) -> list[Told]:
    """Return the messages of the drift topic."""
    decode = msgspec.json.Decoder(Told, strict=False).decode
    return [decode(record.value or b"") for record in iter_topic(brokers, "flights-drift")]


def judge_drift(
    told: Sequence[Told], scored: Mapping[int, ScoredRows], version: str, baseline: Baseline, closed: Mapping[int, int]
) -> Iterator[Finding]:
    """Judge all messages; ``closed`` has the last day that is closed, by partition."""
    statistics = [each for each in told if each.kind == "statistics"]
    expected = dict(_expected(scored, version, baseline, closed))
    counts = Counter(each.place for each in statistics)
    yield compare("drift windows, once each", dict.fromkeys(expected, 1), counts)
    found = {each.place: _figures(each) for each in statistics}
    yield compare("drift statistics", expected, found, alike)
    yield _judge_quantiles(statistics, scored)
    alarms, unseen = _run(scored, statistics)
    yield compare("drift alarms", Counter(alarms), Counter(_alarms(told)))
    detectors = [each for each in statistics if each.detectors]
    examples = tuple(f"{each.place}: {each.detectors}" for each in unseen[:3])
    yield Finding("detectors as told with windows", len(detectors), len(unseen), examples)


def _expected(
    scored: Mapping[int, ScoredRows], version: str, baseline: Baseline, closed: Mapping[int, int]
) -> Iterator[tuple[Window, Figures]]:
    """Yield the figures of each closed window; a partition that has one origin has but one slice, of the same rows."""
    for partition, rows in scored.items():
        (origin,) = set(rows.texts[_SLICED])
        for (day, column), figures in describe_days(rows, baseline).items():
            for name in (None, f"{_SLICED}={origin}") if day <= closed.get(partition, day - 1) else ():
                yield (partition, day, column, name), {**_COMMON, "version": version, "days": 1, **figures}


def _figures(told: Told) -> Figures:
    """Return what is told in the form of ``describe_days``."""
    numeric = ("mean", "variance", "minimum", "maximum", "psi", "categories", "other")
    given = {name: value for name in numeric if (value := getattr(told, name)) is not None}
    found: Figures = {"model": told.model, "version": told.version, "late": told.late, "count": told.count}
    found |= {"days": (_ms(told.window_end) - _ms(told.window_start)) / DAY_MS, "nulls": told.nulls, **given}
    if told.histogram is not None:
        found |= {"histogram": list(map(int, told.histogram["counts"])), "psi": told.psi}
    return found


def _judge_quantiles(statistics: Sequence[Told], scored: Mapping[int, ScoredRows]) -> Finding:
    """Judge the quantiles of all rows of a window; slices have none."""
    wrong: list[str] = []
    compared = 0
    for each in statistics:
        rows = scored[each.partition]
        if each.slice is not None or each.column not in rows.numbers or not each.count:
            compared += bool(each.quantiles)
            wrong += [f"{each.place} has quantiles"] if each.quantiles else []
            continue
        values = rows.numbers[each.column][rows.times_ms // DAY_MS == each.day]
        ascending = np.sort(values[~np.isnan(values)])
        off = [p for p, value in each.quantiles.items() if not is_quantile(value, p, ascending, len(values))]
        compared += max(1, len(each.quantiles))
        wrong += [f"{each.place} at {p}" for p in off] if each.quantiles else [f"{each.place} has none"]
    return Finding("drift quantiles", compared, len(wrong), tuple(wrong[:3]))


def _alarms(told: Sequence[Told]) -> Iterator[tuple[int, Alarm]]:
    for each in told:
        if each.kind == "alarm":
            row, time_ms = each.ordinal, _ms(each.event_time)
            yield each.partition, Alarm(each.column, each.detector, row, time_ms, each.count)


def _run(scored: Mapping[int, ScoredRows], statistics: Sequence[Told]) -> tuple[list[tuple[int, Alarm]], list[Told]]:
    """Return all alarms, and the statistics whose detectors have nowhere been what they are said to be."""
    alarms: list[tuple[int, Alarm]] = []
    unseen: list[Told] = []
    for partition, rows in scored.items():
        mine = [each for each in statistics if each.partition == partition and each.detectors]
        raised, missed = _follow(rows, mine)
        alarms += [(partition, alarm) for alarm in raised]
        unseen += missed
    return alarms, unseen


def _follow(rows: ScoredRows, told: Sequence[Told]) -> tuple[list[Alarm], list[Told]]:
    """Let the detectors of a partition go through its rows, and look for what is told of them, window by window."""
    days = rows.times_ms // DAY_MS
    windows: dict[int, list[Told]] = {day: [each for each in told if each.day == day] for day in {t.day for t in told}}
    ends = {day: int(np.searchsorted(days, day, side="right")) for day in windows}
    running = Running(rows)
    alarms: list[Alarm] = []
    while running.row < len(running):
        alarms += running.step()
        due = [day for day in windows if ends[day] <= running.row]
        state = running.state() if due else {}
        for day in due:
            if _told_state(windows[day]) == _in_window(state, alarms, days, day):
                del windows[day]
    return alarms, [each for missed in windows.values() for each in missed]


def _told_state(told: Sequence[Told]) -> dict[tuple[str, str], tuple[int, int, int, dict[str, float]]]:
    return {
        (each.column, one["detector"]): (one["sample_every"], one["alarms"], one["alarms_total"], one["figures"])
        for each in told
        for one in each.detectors
    }


def _in_window(
    state: State, alarms: Sequence[Alarm], days: Any, day: int
) -> dict[tuple[str, str], tuple[int, int, int, dict[str, float]]]:
    within = Counter((alarm.column, alarm.detector) for alarm in alarms if days[alarm.row] == day)
    return {
        (column, name): (1, within[column, name], total, figures)
        for column, named in state.items()
        for name, (total, figures) in named.items()
    }


def _ms(instant: datetime | None) -> int:
    return 0 if instant is None else round(instant.timestamp() * 1000)
