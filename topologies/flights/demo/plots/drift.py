"""Drift over the year: what the predictions did, when River raised alarms, and how far each input moved."""

from __future__ import annotations

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from topologies.drawing import ACCENT, INK, MUTED, PLAIN, STEPS, Layout, drawn, keyed, titled
from topologies.flights.demo.plots.history import Statistics, divergence_by_week, mean_by_day
from topologies.flights.demo.plots.months import show_months
from topologies.flights.demo.watch import Alarm

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_drift"]

_WATCHED: Final = {
    "probability": "Predicted probability of a late arrival",
    "route_late_share": "Feature route_late_share: late arrivals of the route in the 28 days before",
}
_SPAN: Final = 7
_BOUNDS: Final = (0.1, 0.25, 0.5, 1.0)
_CLASSES: Final = ("below 0.1", "to 0.25", "to 0.5", "to 1", "above 1")
_MARKERS: Final = {"ADWIN": "v", "PageHinkley": "D"}
_UNSHOWN: Final = frozenset({"label"})
"""The predicted label says less than the probability."""


def draw_drift(
    file: Path, statistics: Sequence[Statistics], alarms: Sequence[Alarm], baseline: Mapping[str, Any]
) -> None:
    """Draw daily means with alarms, and each column's divergence from ``baseline`` by week.

    ``statistics`` must not be empty.
    """
    first = min(each.day for each in statistics)
    last = max(each.day for each in statistics)
    weeks = divergence_by_week(statistics, baseline)
    layout = Layout(width=10.5, height=8.6, rows=(1.0, 1.0, 2.7))
    subtitle = "Statistics of days and River's alarms as they stand on the topic flights-drift, all partitions together"
    with drawn(file, layout, title="Drift over the year", subtitle=subtitle) as (*panels, below):
        for axes, (column, name) in zip(panels, _WATCHED.items(), strict=True):
            titled(axes, name)
            trained = baseline.get(column, {}).get("mean")
            _draw_means(axes, mean_by_day(statistics, column), first, trained)
            _draw_alarms(axes, [alarm for alarm in alarms if alarm.column == column], first)
            show_months(axes, first, last, named=False)
        keyed(panels[0])
        _draw_weeks(
            below, {column: weeks[column] for column in weeks if column not in _UNSHOWN}, (last - first).days + 1
        )
        show_months(below, first, last)


def _draw_means(axes: Axes, means: Mapping[date, float], first: date, trained: float | None) -> None:
    days = [(day - first).days + 0.5 for day in means]
    axes.plot(days, list(means.values()), color=PLAIN, alpha=0.35, linewidth=0.9, label="day")
    axes.plot(days, _smoothed(list(means.values())), color=PLAIN, linewidth=2, label=f"{_SPAN} days")
    if trained is not None:
        axes.axhline(trained, color=MUTED, linewidth=1.2, linestyle=(0, (4, 3)), label="training data")
    highest = max([*means.values(), trained or 0]) or 1
    axes.set_ylim(0, highest * 1.4)
    axes.set_ylabel("mean of the day")
    axes.grid(axis="y")


def _smoothed(values: Sequence[float]) -> list[float]:
    """Return the mean of each value and of those up to three before and after it.

    >>> _smoothed([1.0, 3.0])
    [2.0, 2.0]
    """
    reach = _SPAN // 2
    spans = [values[max(0, number - reach) : number + reach + 1] for number in range(len(values))]
    return [sum(span) / len(span) for span in spans]


def _draw_alarms(axes: Axes, alarms: Sequence[Alarm], first: date) -> None:
    """Mark each day on which a detector raised an alarm in any partition."""
    for height, (detector, marker) in zip((0.93, 0.81), _MARKERS.items(), strict=True):
        days = sorted({date.fromisoformat(alarm.date) for alarm in alarms if alarm.detector == detector})
        places = [(day - first).days + 0.5 for day in days]
        axes.plot(
            places,
            [height] * len(places),
            marker,
            transform=axes.get_xaxis_transform(),
            color=ACCENT if detector == "ADWIN" else INK,
            markersize=6 if marker == "v" else 4.5,
            label=f"{detector} alarm",
        )


def _draw_weeks(axes: Axes, weeks: Mapping[str, Sequence[float]], days: int) -> None:
    """Draw a row of weeks for each column, those that alarms watch at the top, then the one that moved most."""
    titled(axes, "Population stability index by week, against the training data")
    columns = sorted(weeks, key=lambda column: (column in _WATCHED, sum(weeks[column])))
    for row, column in enumerate(columns):
        for level, spans in _spans(weeks[column], days):
            axes.broken_barh(spans, (row - 0.42, 0.84), facecolor=STEPS[level], linewidth=0)
    axes.set_yticks(list(range(len(columns))), columns)
    axes.set_ylim(-0.6, len(columns) - 0.4)
    axes.tick_params(axis="y", length=0, labelsize=9)
    for colour, name in zip(STEPS, _CLASSES, strict=True):
        axes.broken_barh([], (0, 0), facecolor=colour, label=name)
    keyed(axes)


def _spans(weeks: Sequence[float], days: int) -> list[tuple[int, list[tuple[float, float]]]]:
    """Return the spans (start and length in days) of each level; neighbouring weeks of a level are one.

    >>> _spans([0.3, 0.4, 0.0], 22)
    [(0, [(14, 8)]), (2, [(0, 14)])]
    """
    found: defaultdict[int, list[tuple[float, float]]] = defaultdict(list)
    for level, run in groupby(enumerate(weeks), key=lambda week: bisect_right(_BOUNDS, week[1])):
        numbers = [number for number, _ in run]
        start = numbers[0] * _SPAN
        end = days if numbers[-1] == len(weeks) - 1 else (numbers[-1] + 1) * _SPAN
        found[level].append((start, end - start))
    return sorted(found.items())
