"""A closed window as messages."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from streamserve.baseline import Baseline, CategoricalBaseline, ColumnBaseline, NumericBaseline
from streamserve.monitoring.divergence import population_stability_index
from streamserve.monitoring.drift import ColumnDetectors
from streamserve.monitoring.messages import DetectorFigures, DriftStatistics, Histogram
from streamserve.monitoring.rows import Floats
from streamserve.monitoring.statistics import CategoryCounts, Measures, NumericStatistics, WindowStatistics
from streamserve.monitoring.windows import Window
from streamserve.records import to_datetime

__all__ = ["PROBABILITIES", "Origin", "describe_window"]

PROBABILITIES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The quantiles that are published."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a window's statistics come from; ``index`` counts windows of ``length_ms`` since the epoch."""

    model: str
    version: str
    partition: int
    index: int
    length_ms: int
    late: int

    def fields(self) -> dict[str, Any]:
        """Return what the messages of a window have in common."""
        return {
            "model": self.model,
            "version": self.version,
            "partition": self.partition,
            "window_start": to_datetime(self.index * self.length_ms),
            "window_end": to_datetime((self.index + 1) * self.length_ms),
            "late": self.late,
        }


def describe_window(
    window: Window, origin: Origin, measures: Measures, baseline: Baseline, detectors: Mapping[str, ColumnDetectors]
) -> Iterator[DriftStatistics]:
    """Yield a message for each slice and column, all rows first; detectors are described with all rows."""
    common = origin.fields()
    for name, statistics in window.parts():
        for column, figures in _describe(statistics, measures, baseline):
            described = _describe_detectors(detectors.get(column), window) if name is None else ()
            yield DriftStatistics(**common, slice=name, column=column, detectors=described, **figures)


def _describe(
    statistics: WindowStatistics, measures: Measures, baseline: Baseline
) -> Iterator[tuple[str, dict[str, Any]]]:
    numeric = statistics.numeric
    quantiles = numeric.sketch.quantiles(PROBABILITIES) if numeric.sketch is not None else None
    for index, column in enumerate(measures.numeric):
        row = quantiles[index] if quantiles is not None else None
        yield column, _describe_numbers(numeric, index, row, baseline.get(column))
    for column, counts in zip(measures.categorical, statistics.categories, strict=True):
        yield column, _describe_categories(counts, baseline.get(column))


def _describe_numbers(
    numeric: NumericStatistics, index: int, quantiles: Floats | None, baseline: ColumnBaseline | None
) -> dict[str, Any]:
    count = int(numeric.counts[index])
    figures: dict[str, Any] = {"count": count, "nulls": numeric.rows - count}
    if count:
        figures["mean"] = _finite(numeric.means[index])
        figures["variance"] = _finite(numeric.variance(index))
        figures["minimum"] = float(numeric.minima[index])
        figures["maximum"] = float(numeric.maxima[index])
        if quantiles is not None:
            figures["quantiles"] = dict(zip(PROBABILITIES, quantiles.tolist(), strict=True))
    if isinstance(baseline, NumericBaseline):
        counts = numeric.histograms[index].tolist()
        figures["histogram"] = Histogram(edges=baseline.edges, counts=counts)
        figures["psi"] = population_stability_index(baseline.counts, counts)
    return figures


def _describe_categories(counts: CategoryCounts, baseline: ColumnBaseline | None) -> dict[str, Any]:
    figures: dict[str, Any] = {
        "count": sum(counts.counts.values()) + counts.other,
        "nulls": counts.nulls,
        "categories": counts.counts,
        "other": counts.other,
    }
    if isinstance(baseline, CategoricalBaseline):
        expected = [*baseline.categories.values(), baseline.other]
        figures["psi"] = population_stability_index(expected, [*counts.counts.values(), counts.other])
    return figures


def _describe_detectors(detectors: ColumnDetectors | None, window: Window) -> tuple[DetectorFigures, ...]:
    if detectors is None:
        return ()
    alarms = window.alarms.get(detectors.column, {})
    return tuple(
        DetectorFigures(
            detector=running.template.name,
            sample_every=running.template.sample_every,
            alarms=alarms.get(running.template.name, 0),
            alarms_total=running.alarms,
            figures=running.figures(),
        )
        for running in detectors.running
    )


def _finite(number: float) -> float | None:
    """Return ``None`` for what overflowed: sums of squares beyond 1e308."""
    return float(number) if math.isfinite(number) else None
