"""How good predictions were, month by month, from predictions and the labels that came."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["MonthReport", "auc", "by_month", "log_loss"]

_CLIP = 1e-7


@dataclass(frozen=True, slots=True)
class MonthReport:
    """One month of schedules, New York's calendar.

    ``predictions`` were made, ``labelled`` of them could be judged, ``late_share`` of these were late. ``auc`` is
    ``None`` unless there were both late and punctual flights, ``log_loss`` and ``late_share`` unless there was any.
    """

    month: str
    predictions: int
    labelled: int
    late_share: float | None
    auc: float | None
    log_loss: float | None


def by_month(probabilities: Mapping[str, float], labels: Mapping[str, bool]) -> list[MonthReport]:
    """Judge predictions by flight id against labels by flight id, oldest month first.

    >>> by_month({"2013-01-01-UA-1-EWR": 0.9, "2013-01-02-UA-1-EWR": 0.2}, {"2013-01-01-UA-1-EWR": True})[0].labelled
    1
    """
    months: defaultdict[str, list[str]] = defaultdict(list)
    for flight_id in probabilities:
        months[flight_id[:7]].append(flight_id)
    return [_report(month, months[month], probabilities, labels) for month in sorted(months)]


def auc(labels: ArrayLike, scores: ArrayLike) -> float | None:
    """Return the area under the ROC curve; ``None`` where one of the classes is missing.

    It is the Mann-Whitney statistic: the chance that a late flight scores above a punctual one, ties counting half
    (Hanley & McNeil, Radiology 143, 1982).

    >>> auc([True, True, False, False], [0.9, 0.5, 0.5, 0.1])
    0.875
    """
    late = np.asarray(labels, dtype=np.bool_)
    positives = int(late.sum())
    negatives = len(late) - positives
    if not positives or not negatives:
        return None
    rank_sum = float(_mean_ranks(np.asarray(scores, dtype=np.float64))[late].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def log_loss(labels: ArrayLike, probabilities: ArrayLike) -> float | None:
    """Return the mean negative log-likelihood in nats, ``None`` without labels; certainties count as 1 - 1e-7.

    >>> round(log_loss([True, False], [0.5, 0.5]) or 0, 4)
    0.6931
    """
    late = np.asarray(labels, dtype=np.bool_)
    if not len(late):
        return None
    chance = np.clip(np.asarray(probabilities, dtype=np.float64), _CLIP, 1 - _CLIP)
    return float(-np.log(np.where(late, chance, 1 - chance)).mean())


def _mean_ranks(scores: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return ranks from 1 on, equal scores sharing the mean of theirs."""
    _, group, sizes = np.unique(scores, return_inverse=True, return_counts=True)
    last = np.cumsum(sizes)
    return (last - (sizes - 1) / 2)[group]


def _report(
    month: str, flights: Sequence[str], probabilities: Mapping[str, float], labels: Mapping[str, bool]
) -> MonthReport:
    judged = [flight_id for flight_id in flights if flight_id in labels]
    late: NDArray[Any] = np.array([labels[flight_id] for flight_id in judged], dtype=np.bool_)
    chance = np.array([probabilities[flight_id] for flight_id in judged])
    return MonthReport(
        month=month,
        predictions=len(flights),
        labelled=len(judged),
        late_share=float(late.mean()) if judged else None,
        auc=auc(late, chance),
        log_loss=log_loss(late, chance),
    )
