"""Figures of the rows of one event-time window: all of them, or one slice."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from streamserve.baseline import CategoricalBaseline, ColumnBaseline, NumericBaseline
from streamserve.monitoring.quantiles import QuantileSketch
from streamserve.monitoring.rows import Floats, Integers, Layout, Rows

__all__ = ["MAX_CATEGORIES", "CategoryCounts", "Measures", "NumericStatistics", "WindowStatistics"]

MAX_CATEGORIES = 50
"""Values told apart in a column without a baseline, and slices of one column; the rest is counted as other."""


@dataclass(frozen=True, slots=True)
class Measures:
    """What is counted for one model version.

    ``edges`` holds the inner edges of each numeric column's baseline, empty without one; ``known`` the categories of
    each categorical column's baseline, ``None`` where they are learnt from the stream; ``slices`` the columns by whose
    values the statistics are split.
    """

    numeric: tuple[str, ...]
    edges: tuple[Floats, ...]
    categorical: tuple[str, ...]
    known: tuple[tuple[str, ...] | None, ...]
    slices: tuple[str, ...]

    @classmethod
    def of(cls, columns: Mapping[str, type], baseline: Mapping[str, ColumnBaseline], slices: Sequence[str]) -> Measures:
        """Plan for ``columns``; a baseline's kind decides over the declared type.

        Raises:
            TypeError: a column's type is none of ``str``, ``int``, ``float`` and ``bool``.
        """
        categorical = tuple(name for name, declared in columns.items() if _is_categorical(name, declared, baseline))
        numeric = tuple(name for name in columns if name not in categorical)
        return cls(
            numeric=numeric,
            edges=tuple(np.asarray(_edges(baseline.get(name)), dtype=np.float64) for name in numeric),
            categorical=categorical,
            known=tuple(_known(baseline.get(name)) for name in categorical),
            slices=tuple(slices),
        )

    @property
    def layout(self) -> Layout:
        """The columns that a batch has to bring."""
        return Layout(self.numeric, tuple(dict.fromkeys((*self.categorical, *self.slices))))


def _is_categorical(name: str, declared: type, baseline: Mapping[str, ColumnBaseline]) -> bool:
    if not issubclass(declared, str | int | float):
        raise TypeError(f"column {name!r} is a {declared.__name__}: only str, int, float and bool can be monitored")
    if name in baseline:
        return isinstance(baseline[name], CategoricalBaseline)
    return issubclass(declared, str)


def _edges(baseline: ColumnBaseline | None) -> tuple[float, ...]:
    return baseline.edges if isinstance(baseline, NumericBaseline) else ()


def _known(baseline: ColumnBaseline | None) -> tuple[str, ...] | None:
    return tuple(baseline.categories) if isinstance(baseline, CategoricalBaseline) else None


class NumericStatistics:
    """Count, mean, variance, extremes, histogram and (when asked for) quantiles of several columns at once.

    ``squares`` is the sum of squared deviations from the mean. Batches are merged by the pairwise formulas of Chan,
    Golub and LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances" (1979).
    """

    __slots__ = ("counts", "edges", "histograms", "maxima", "means", "minima", "rows", "sketch", "squares")

    def __init__(self, edges: Sequence[Floats], *, quantiles: bool) -> None:
        size = len(edges)
        self.edges = edges
        self.rows = 0
        self.counts: Integers = np.zeros(size, dtype=np.int64)
        self.means: Floats = np.zeros(size)
        self.squares: Floats = np.zeros(size)
        self.minima: Floats = np.full(size, np.nan)
        self.maxima: Floats = np.full(size, np.nan)
        self.histograms: list[Integers] = [np.zeros(len(inner) + 1, dtype=np.int64) for inner in edges]
        self.sketch = QuantileSketch(size) if quantiles else None

    def update(self, numbers: Floats) -> None:
        """Count ``numbers`` of shape ``(columns, n)``, NaN where missing, with at least one row and column."""
        ordered = np.sort(numbers, axis=1)
        present = ~np.isnan(numbers)
        counts = np.count_nonzero(present, axis=1)
        self._merge_moments(numbers, present, counts)
        self.minima = np.fmin(self.minima, ordered[:, 0])
        self.maxima = np.fmax(self.maxima, np.fmax.reduce(numbers, axis=1))
        for histogram, inner, column, count in zip(self.histograms, self.edges, ordered, counts, strict=True):
            below = column.searchsorted(inner)
            histogram[:-1] += below
            histogram[1:] -= below
            histogram[-1] += count
        if self.sketch is not None:
            self.sketch.add(ordered)
        self.rows += numbers.shape[1]

    def _merge_moments(self, numbers: Floats, present: np.ndarray, counts: Integers) -> None:
        with np.errstate(over="ignore", invalid="ignore"):
            means = np.where(present, numbers, 0.0).sum(axis=1) / np.maximum(counts, 1)
            deviations = np.where(present, numbers - means[:, None], 0.0)
            squares = np.einsum("ij,ij->i", deviations, deviations)
            share = counts / np.maximum(self.counts + counts, 1)
            distance = means - self.means
            self.means = self.means + distance * share
            self.squares = self.squares + squares + distance * distance * self.counts * share
        self.counts = self.counts + counts

    def variance(self, column: int) -> float:
        """Return the sample variance of a column: divisor ``count - 1``, 0 below two values."""
        count = int(self.counts[column])
        return float(self.squares[column]) / (count - 1) if count > 1 else 0.0


class CategoryCounts:
    """How often each category of one column came.

    Categories outside a given list are ``other``; without a list, so are those after the first 50.
    """

    __slots__ = ("counts", "nulls", "other", "room")

    def __init__(self, known: Sequence[str] | None) -> None:
        self.counts = dict.fromkeys(known or (), 0)
        self.room = MAX_CATEGORIES if known is None else 0
        self.other = 0
        self.nulls = 0

    def update(self, values: Sequence[str | None]) -> None:
        """Count ``values``, ``None`` where missing."""
        for value, times in Counter(values).items():
            if value is None:
                self.nulls += times
            elif value in self.counts:
                self.counts[value] += times
            elif self.room:
                self.room -= 1
                self.counts[value] = times
            else:
                self.other += times


class WindowStatistics:
    """All columns of one window and slice. Slices have no quantiles, so that many of them stay small."""

    __slots__ = ("categories", "numeric")

    def __init__(self, measures: Measures, *, quantiles: bool) -> None:
        self.numeric = NumericStatistics(measures.edges, quantiles=quantiles)
        self.categories = [CategoryCounts(known) for known in measures.known]

    def update(self, rows: Rows) -> None:
        """Count one or more rows."""
        if len(rows.numbers):
            self.numeric.update(rows.numbers)
        for counts, values in zip(self.categories, rows.texts, strict=False):
            counts.update(values)
