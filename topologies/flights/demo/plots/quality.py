"""Live quality by month: of predictions that have met their labels, beside what was known before deployment."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import date
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Final

from topologies.drawing import ACCENT, INK, MUTED, PLAIN, STEPS, Layout, drawn, keyed, titled
from topologies.flights.demo.outcomes import Outcomes
from topologies.flights.demo.plots.history import Reported
from topologies.flights.report import MonthReport, by_month

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["draw_quality"]

_BAR: Final = 0.36
_ROOM: Final = 0.015
"""AUC left free above the highest mark, for its figure."""


def draw_quality(
    file: Path, outcomes: Outcomes, reports: Sequence[Reported], *, held_out: float, learned: Sequence[str]
) -> None:
    """Draw live AUC with the app's own reports for each partition, and the late share beside the predicted.

    ``outcomes`` must have matches; ``held_out`` is the AUC on the month that was held out in training, ``learned`` are
    the months (``2013-01``) that the model was trained on.
    """
    months = by_month(outcomes.scores, outcomes.truths)
    places = {each.month: float(number) for number, each in enumerate(months)}
    layout = Layout(width=10.5, height=5.6, rows=(1.7, 1.0))
    subtitle = "Predictions that have met their arrivals, as they stand on the topic flights-performance"
    with drawn(file, layout, title="Live quality by month", subtitle=subtitle) as (upper, lower):
        _draw_auc(upper, months, reports, held_out, places)
        _draw_shares(lower, months, _mean_scores(outcomes))
        names = [date.fromisoformat(f"{month}-01").strftime("%b") for month in places]
        upper.set_xticks(list(places.values()), [""] * len(names))
        lower.set_xticks(list(places.values()), names)
        for axes in (upper, lower):
            for month in set(learned) & places.keys():
                axes.axvspan(places[month] - 0.5, places[month] + 0.5, color=STEPS[0], linewidth=0, zorder=0)
            axes.set_xlim(-0.5, len(months) - 0.5)
            axes.tick_params(length=0)
            axes.grid(axis="y")


def _draw_auc(
    axes: Axes,
    months: Sequence[MonthReport],
    reports: Sequence[Reported],
    held_out: float,
    places: Mapping[str, float],
) -> None:
    titled(axes, "ROC AUC (months that the model learned from are shaded)")
    figures = {places[each.month]: each.auc for each in months if each.auc is not None}
    dots = [dot for report in reports if (dot := _dot(report, places)) is not None]
    axes.axhline(held_out, color=ACCENT, linewidth=1.4, linestyle=(0, (4, 3)), label=f"held out: {held_out:.3f}")
    axes.plot([x for x, _ in dots], [y for _, y in dots], "o", color=STEPS[2], markersize=4, label="one partition")
    axes.plot(
        list(figures), list(figures.values()), "o-", color=PLAIN, linewidth=2, markersize=6, label="all partitions"
    )
    for place, figure in figures.items():
        highest = max(figure, *(y for x, y in dots if x == place), 0)
        axes.annotate(
            f"{figure:.3f}",
            (place, highest),
            textcoords="offset points",
            xytext=(0, 8),
            ha="center",
            fontsize=8.5,
            color=INK,
        )
    if figures:
        axes.set_ylim(top=max([held_out, *figures.values(), *(y for _, y in dots)]) + _ROOM)
    axes.set_ylabel("ROC AUC")
    keyed(axes)


def _dot(report: Reported, places: Mapping[str, float]) -> tuple[float, float] | None:
    """Return where a report's AUC is drawn, ``None`` where it has none."""
    month = "" if report.window_start is None else f"{report.window_start:%Y-%m}"
    auc = report.metrics.get("ROCAUC")
    return (places[month], auc) if auc is not None and month in places else None


def _draw_shares(axes: Axes, months: Sequence[MonthReport], predicted: Mapping[str, float]) -> None:
    titled(axes, "Share of late flights")
    numbers = range(len(months))
    foretold = [100 * predicted[each.month] for each in months]
    came = [100 * (each.late_share or 0) for each in months]
    axes.bar([x - _BAR / 2 for x in numbers], foretold, width=_BAR, color=STEPS[2], label="predicted, on average")
    axes.bar([x + _BAR / 2 for x in numbers], came, width=_BAR, color=MUTED, label="were late")
    axes.set_ylim(0, 1.1 * max([*foretold, *came]))
    axes.set_ylabel("% of flights")
    keyed(axes)


def _mean_scores(outcomes: Outcomes) -> dict[str, float]:
    """Return the mean probability of matched predictions by month."""
    scores: defaultdict[str, list[float]] = defaultdict(list)
    for flight, score in outcomes.scores.items():
        scores[flight[:7]].append(score)
    return {month: fmean(values) for month, values in scores.items()}
