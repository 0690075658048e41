"""What statistics of scored rows must be, by NumPy over whole columns."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from tests.integration.flights_storm.scored import Floats, ScoredRows

__all__ = ["DAY_MS", "Baseline", "Figures", "describe_days", "divergence", "is_quantile", "rank_bound"]

DAY_MS = 86_400_000
"""The length of the windows."""

Figures: TypeAlias = dict[str, Any]
"""What there is to say of a column, by name."""

Baseline: TypeAlias = Mapping[str, Mapping[str, Any]]
"""What the training data looked like, by column."""

_ROUNDING = 1e-6
_FLOOR = 1e-4
"""The share that an empty bin is taken to have in the population stability index."""


def describe_days(rows: ScoredRows, baseline: Baseline) -> dict[tuple[int, str], Figures]:
    """Return the figures of each day (counted from the epoch, UTC) and column; rows come in the order of time.

    >>> rows = ScoredRows(np.array([0, 1]), {"hour": np.array([2.0, np.nan])}, {"dest": ["ORD", "LAX"]})
    >>> bins = {"hour": {"edges": [3.0], "counts": [1, 1]}, "dest": {"categories": {"ORD": 1}, "other": 1}}
    >>> describe_days(rows, bins)[0, "hour"]["histogram"], describe_days(rows, bins)[0, "dest"]["other"]
    ([1, 0], 1)
    """
    days, firsts = np.unique(rows.times_ms // DAY_MS, return_index=True)
    found: dict[tuple[int, str], Figures] = {}
    for name, column in rows.numbers.items():
        for day, values in zip(days.tolist(), np.split(column, firsts[1:]), strict=True):
            found[day, name] = _moments(values) | _histogram(values, baseline.get(name))
    for name, texts in rows.texts.items():
        for day, values in zip(days.tolist(), np.split(np.array(texts), firsts[1:]), strict=True):
            found[day, name] = _categories(values.tolist(), baseline[name])
    return found


def divergence(expected: Sequence[int], actual: Sequence[int]) -> float | None:
    """Return the population stability index: the sum over bins of the shares' difference times their log ratio.

    >>> round(divergence([50, 50], [25, 75]) or 0, 4)
    0.2747
    """
    if not sum(expected) or not sum(actual):
        return None
    pairs = [
        (max(e / sum(expected), _FLOOR), max(a / sum(actual), _FLOOR)) for e, a in zip(expected, actual, strict=True)
    ]
    return math.fsum((a - e) * math.log(a / e) for e, a in pairs)


def is_quantile(value: float, probability: float, values: Floats, rows: int) -> bool:
    """Return whether a value may pass for a quantile of ``values``, which ascend and come from so many ``rows``.

    It has to be one of them, and its rank off by no more than the sketch's documented bound allows: 255 are exact, one
    unit of 256 is off by 3, and each doubling costs more. Where units begin depends on which rows came in one batch
    with the closing of the window before, so no single answer is the right one.

    >>> is_quantile(2.0, 0.5, np.array([1.0, 2.0, 3.0]), 3), is_quantile(3.0, 0.5, np.array([1.0, 2.0, 3.0]), 3)
    (True, False)
    """
    below, through = (int(np.searchsorted(values, value, side=side)) for side in ("left", "right"))
    wanted, slack = probability * len(values), rank_bound(rows) + _ROUNDING
    return below < through and below - slack < wanted <= through + slack


def rank_bound(rows: int) -> int:
    """Return the greatest error of a rank, as the sketch promises it: halvings of each level, the heaviest value."""
    units = rows // 256
    levels = units.bit_length()
    return sum(((units >> level) + 1) // 2 << level for level in range(levels)) + (1 << levels if units else 0)


def _moments(values: Floats) -> Figures:
    present = values[~np.isnan(values)]
    found: Figures = {"count": len(present), "nulls": len(values) - len(present)}
    if len(present):
        found["mean"] = float(np.mean(present))
        found["variance"] = float(np.var(present, ddof=1)) if len(present) > 1 else 0.0
        found["minimum"] = float(present.min())
        found["maximum"] = float(present.max())
    return found


def _histogram(values: Floats, trained: Mapping[str, Any] | None) -> Figures:
    if trained is None:
        return {}
    present = values[~np.isnan(values)]
    counts = np.bincount(np.digitize(present, trained["edges"]), minlength=len(trained["edges"]) + 1).tolist()
    return {"histogram": counts, "psi": divergence(trained["counts"], counts)}


def _categories(values: list[str], trained: Mapping[str, Any]) -> Figures:
    counted = Counter(values)
    categories = {name: counted[name] for name in trained["categories"]}
    other = len(values) - sum(categories.values())
    expected = [*trained["categories"].values(), trained["other"]]
    return {
        "count": len(values),
        "nulls": 0,
        "categories": categories,
        "other": other,
        "psi": divergence(expected, [*categories.values(), other]),
    }
