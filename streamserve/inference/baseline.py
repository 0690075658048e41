"""The training baseline of a model, for use by training scripts."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamserve.baseline import Baseline, CategoricalBaseline, NumericBaseline
from streamserve.inference.columns import Column

__all__ = ["QUANTILES", "build_baseline"]

QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
"""The probabilities whose quantiles a baseline holds."""


def build_baseline(columns: Mapping[str, Column], *, bins: int = 10, max_categories: int = 100) -> Baseline:
    """Describe training data, given as columns of equal or different lengths.

    Columns of numbers or booleans (0 and 1) get a numeric baseline in ``bins`` bins of equal counts, the deciles usual
    for the population stability index (N. Siddiqi, *Credit Risk Scorecards*, Wiley 2006, ch. 8; B. Yurdakul,
    *Statistical Properties of Population Stability Index*, Western Michigan University 2018, for its spread by bins
    and sample size). A value so frequent that it fills a bin has one of its own, a little wider than its rounding to
    32 bits. Columns of strings get a categorical one with the ``max_categories`` most frequent. ``None`` and NaN count
    as nulls; a column of nothing else is numeric.

    Raises:
        ValueError: a column mixes strings with numbers, holds other things, or has an infinite number.

    >>> build_baseline({"delayed": [True, False, False, None]})["delayed"].nulls
    1
    """
    return {
        name: _describe(name, _present(values), len(values), bins, max_categories) for name, values in columns.items()
    }


def _present(values: Column) -> list[Any]:
    """Return the plain Python values that are not missing."""
    plain: list[Any] = np.asarray(values, object).tolist()
    return [value for value in plain if value is not None and value == value]  # noqa: PLR0124 - NaN differs from itself


def _describe(
    name: str, present: list[Any], size: int, bins: int, max_categories: int
) -> NumericBaseline | CategoricalBaseline:
    if present and all(isinstance(value, str) for value in present):
        return _categorical(present, size, max_categories)
    if not all(isinstance(value, int | float | np.number | np.bool_) for value in present):
        kinds = sorted({type(value).__name__ for value in present})
        raise ValueError(f"column {name!r} holds {', '.join(kinds)}: give numbers, booleans or strings, not a mixture")
    numbers = np.array(present, np.float64)
    if not np.isfinite(numbers).all():
        raise ValueError(f"column {name!r} has infinite numbers: a model would refuse them, so leave them out")
    return _numeric(numbers, size - len(present), bins)


def _categorical(present: list[str], size: int, max_categories: int) -> CategoricalBaseline:
    categories = dict(Counter(present).most_common(max_categories))
    other = len(present) - sum(categories.values())
    return CategoricalBaseline(categories=categories, other=other, count=len(present), nulls=size - len(present))


def _numeric(numbers: NDArray[np.float64], nulls: int, bins: int) -> NumericBaseline:
    if not len(numbers):
        return NumericBaseline(edges=(), counts=(0,), count=0, nulls=nulls, mean=None, variance=0.0)
    edges = _edges(numbers, bins)
    counts = np.bincount(np.searchsorted(edges, numbers, side="right"), minlength=len(edges) + 1)
    return NumericBaseline(
        edges=tuple(edges.tolist()),
        counts=tuple(counts.tolist()),
        count=len(numbers),
        nulls=nulls,
        mean=float(numbers.mean()),
        variance=float(numbers.var(ddof=1)) if len(numbers) > 1 else 0.0,
        minimum=float(numbers.min()),
        maximum=float(numbers.max()),
        quantiles=dict(zip(QUANTILES, np.quantile(numbers, QUANTILES).tolist(), strict=True)),
    )


def _edges(numbers: NDArray[np.float64], bins: int) -> NDArray[np.float64]:
    """Return the inner edges: quantiles, but a pair around one that is repeated, or is the least or greatest value."""
    inner = np.quantile(numbers, np.linspace(0, 1, bins + 1)[1:-1], method="inverted_cdf")
    cuts, times = np.unique(inner, return_counts=True)
    is_frequent = (times > 1) | (cuts == numbers.min()) | (cuts == numbers.max())
    frequent = cuts[is_frequent]
    margin = 2 * np.spacing(np.abs(frequent).astype(np.float32)).astype(np.float64)
    return np.unique(np.concatenate([cuts[~is_frequent], frequent - margin, frequent + margin]))
