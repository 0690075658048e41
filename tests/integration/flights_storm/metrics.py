"""The metrics of predictions and labels, recomputed by scikit-learn: reports, and what the changelog holds of them.

A report comes when a month is settled: when event time has passed its end by the bound within which labels count. What
a month's report says is determined but for one thing: late and repeated labels that came after that moment are in it if
they were in the batch that closed it, and are else counted as ``after_close``. There are a handful of these, in counts
and in no metric; they have to be in one of the two. Reports since the beginning end with the batch that closed the
month, so each has to be what the outcomes up to some place in their order come to, a place behind all that had to be
settled: how many outcomes it counts tells which. At the end nothing is open: the changelog has to hold exactly what all
outcomes come to.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from sklearn import metrics as exact

from tests.integration.flights_storm.findings import Finding, alike, compare
from tests.integration.flights_storm.outcomes import Outcome, Performance, Report, Scope, month_end_ms

__all__ = ["WITHIN_MS", "describe", "judge_reports", "same_figures", "scopes_of"]

Figures: TypeAlias = Mapping[str, Any]
Place: TypeAlias = tuple[int, int, Scope]
"""Partition, month (or which report since the beginning), scope."""

WITHIN_MS = 3 * 24 * 3600 * 1000
"""How far a label may be from its prediction."""

_THRESHOLD = 0.5
_BINS = 10
_AUC_WITHIN = 0.001
_STRAGGLING = ("late", "repeated")


def judge_reports(performance: Performance, closed: Mapping[int, int]) -> Iterator[Finding]:
    """Judge all reports; ``closed`` has the last month that is settled, by partition."""
    expected: dict[Place, Figures] = {}
    found: dict[Place, Figures] = {}
    for partition, outcomes in performance.outcomes.items():
        reports = performance.reports.get(partition, ())
        expected |= {(partition, *at): figures for at, figures in _months(outcomes, closed[partition])}
        found |= {(partition, *at): figures for at, figures in _told_months(outcomes, reports)}
    yield compare("metrics by month", expected, found, same_figures)
    running = [
        (partition, place, report, outcomes)
        for partition, outcomes in performance.outcomes.items()
        for place, report in enumerate(performance.reports.get(partition, ()))
        if report.month is None
    ]
    yield compare(
        "metrics since the beginning",
        {(partition, place, report.scope): _so_far(outcomes, report) for partition, place, report, outcomes in running},
        {(partition, place, report.scope): _told(report) for partition, place, report, _ in running},
        same_figures,
    )
    yield _judge_places(performance)
    repeated = [report for reports in performance.reports.values() for report in _repeated(reports)]
    total = sum(map(len, performance.reports.values()))
    yield Finding("metrics told twice", total, len(repeated), tuple(str(report.scope) for report in repeated[:3]))


def scopes_of(outcomes: Sequence[Outcome]) -> dict[Scope, list[Outcome]]:
    """Return the outcomes of each scope, in their order."""
    found: dict[Scope, list[Outcome]] = {}
    for outcome in outcomes:
        for scope in outcome.scopes:
            found.setdefault(scope, []).append(outcome)
    return found


def describe(outcomes: Sequence[Outcome]) -> dict[str, Any]:
    """Return counts by status, and the metrics of the matched, as scikit-learn has them."""
    counts = Counter(outcome.status for outcome in outcomes)
    counts["early"] = sum(outcome.early for outcome in outcomes)
    pairs = [(outcome.truth, outcome.score) for outcome in outcomes if outcome.status == "matched"]
    truths, scores = np.array(pairs, dtype=np.float64).reshape(-1, 2).T
    measured = _measure(truths != 0, scores) if pairs else {}
    return {"counts": {name: number for name, number in counts.items() if number}, "pairs": len(pairs), **measured}


def same_figures(one: object, other: object) -> bool:
    """Return whether figures are equal, up to rounding; the area under the curve, which is kept in bins, up to 0.001.

    >>> same_figures({"pairs": 1, "auc": 0.7}, {"pairs": 1, "auc": 0.7004}), same_figures({"auc": 0.7}, None)
    (True, False)
    """
    if not isinstance(one, dict) or not isinstance(other, dict):
        return False
    left: dict[str, Any] = {**one}
    right: dict[str, Any] = {**other}
    first, second = left.pop("auc", None), right.pop("auc", None)
    near = first is second or (None not in (first, second) and abs(first - second) <= _AUC_WITHIN)
    return near and alike(left, right)


def _measure(truths: Any, scores: Any) -> dict[str, Any]:
    classes = scores >= _THRESHOLD
    found: dict[str, Any] = {
        "metrics": {
            "Accuracy": float(exact.accuracy_score(truths, classes)),
            "Precision": float(exact.precision_score(truths, classes, zero_division=0)),
            "Recall": float(exact.recall_score(truths, classes, zero_division=0)),
            "F1": float(exact.f1_score(truths, classes, zero_division=0)),
            "LogLoss": float(exact.log_loss(truths, scores, labels=[False, True])),
        },
        "calibration": _calibration(truths, scores),
    }
    found["metrics"]["CalibrationError"] = sum(
        each["count"] * abs(each["score"] - each["truth"]) for each in found["calibration"]
    ) / len(scores)
    if 0 < truths.sum() < len(truths):
        found["auc"] = float(exact.roc_auc_score(truths, scores))
    return found


def _calibration(truths: Any, scores: Any) -> list[dict[str, float]]:
    """Return mean score and share of positives of each tenth that has pairs; 1 belongs to the last."""
    bins = np.minimum(np.floor(scores * _BINS), _BINS - 1)
    return [
        {
            "lower": float(each / _BINS),
            "upper": float((each + 1) / _BINS),
            "count": int((bins == each).sum()),
            "score": float(scores[bins == each].mean()),
            "truth": float(truths[bins == each].mean()),
        }
        for each in np.unique(bins)
    ]


def _months(outcomes: Sequence[Outcome], closed: int) -> Iterator[tuple[tuple[int, Scope], Figures]]:
    """Yield what must be told of each settled month and scope, without stragglers."""
    for scope, mine in scopes_of(outcomes).items():
        for month in sorted({outcome.month for outcome in mine if outcome.month <= closed}):
            sure = [each for each in mine if each.month == month and not _straggles(each)]
            if sure:
                yield (month, scope), describe(sure)


def _told_months(outcomes: Sequence[Outcome], reports: Sequence[Report]) -> Iterator[tuple[tuple[int, Scope], Figures]]:
    """Yield what is told of each month and scope, without as many stragglers as there may be in it."""
    stragglers = Counter(
        (scope, each.month, each.status) for each in outcomes if _straggles(each) for scope in each.scopes
    )
    for report in reports:
        if report.month is not None:
            told = _told(report)
            sure = Counter(each.status for each in outcomes if _is_sure(each, report))
            for status in _STRAGGLING:
                extra = told["counts"].get(status, 0) - sure[status]
                if 0 < extra <= stragglers[report.scope, report.month, status]:
                    told["counts"][status] -= extra
            told["counts"] = {name: number for name, number in told["counts"].items() if number}
            yield (report.month, report.scope), told


def _is_sure(outcome: Outcome, report: Report) -> bool:
    return outcome.month == report.month and report.scope in outcome.scopes and not _straggles(outcome)


def _straggles(outcome: Outcome) -> bool:
    """Return whether a label came when its month was settled already."""
    return outcome.status in _STRAGGLING and outcome.label_ms >= month_end_ms(outcome.month) + WITHIN_MS


def _told(report: Report) -> dict[str, Any]:
    measured = {name: value for name, value in report.metrics.items() if name != "ROCAUC"}
    found: dict[str, Any] = {"counts": dict(report.counts), "pairs": report.pairs}
    if measured:
        found |= {"metrics": measured, "calibration": report.calibration}
    if "ROCAUC" in report.metrics:
        found["auc"] = report.metrics["ROCAUC"]
    return found


def _so_far(outcomes: Sequence[Outcome], report: Report) -> Figures:
    """Return what as many outcomes of the scope as the report counts come to, from the first on."""
    return describe([each for each in outcomes if report.scope in each.scopes][: report.outcomes])


def _judge_places(performance: Performance) -> Finding:
    """Judge where reports since the beginning end: behind all that was settled, so that they can only grow."""
    wrong: list[str] = []
    compared = 0
    for partition, reports in performance.reports.items():
        outcomes, settled = performance.outcomes[partition], -1
        for report in reports:
            settled = max(settled, report.month or -1)
            if report.month is None:
                compared += 1
                mine = [each for each in outcomes if report.scope in each.scopes]
                left = sum(each.month <= settled and not _straggles(each) for each in mine[report.outcomes :])
                wrong += [f"partition {partition}, {report.scope}: {left} outcomes left out"] if left else []
    return Finding("outcomes left out of metrics since the beginning", compared, len(wrong), tuple(wrong[:3]))


def _repeated(reports: Sequence[Report]) -> Iterator[Report]:
    """Yield months that were told before, and reports since the beginning that count nothing new."""
    seen: set[tuple[Scope, int | None, int]] = set()
    for report in reports:
        place = report.scope, report.month, report.outcomes if report.month is None else 0
        if place in seen:
            yield report
        seen.add(place)
