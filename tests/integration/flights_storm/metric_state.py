"""What the label join's changelog holds of metrics, taken apart and held against scikit-learn's on all outcomes.

A record of a scope is MessagePack, with the metrics pickled in it. River's own classes are loaded; of the engine's
nothing but their fields is, and what these come to is worked out here.
"""

from __future__ import annotations

import io
import pickle
from collections.abc import Iterator, Mapping
from itertools import accumulate
from typing import Any, TypeAlias

import msgspec
import numpy as np
from typing_extensions import override

from tests.integration.flights_storm.findings import Finding, compare
from tests.integration.flights_storm.metrics import describe, same_figures, scopes_of
from tests.integration.flights_storm.outcomes import Outcome, Performance, Report, Scope

__all__ = ["Folded", "judge_metric_state", "read_metrics"]

Folded: TypeAlias = Mapping[tuple[int, bytes], bytes]
"""The changelog's last values by partition and key, without their format version."""

_TOPIC = "flights-outcomes-changelog"
_METRICS = b"s"
"""Before the key of a scope: window, model, version, slice."""
_CLOSED = _METRICS + b"closed"
_OWN = "streamserve."


class _Stored(msgspec.Struct, array_like=True):
    window: str
    counts: dict[str, int]
    pairs: int
    after_close: int
    changed: bool
    configurations: dict[str, str]
    metrics: bytes | None


def judge_metric_state(folded: Folded, performance: Performance, closed: Mapping[int, int]) -> Iterator[Finding]:
    """Judge what is left of metrics; ``closed`` has the last month that is settled, by partition."""
    settled = {partition: msgspec.msgpack.decode(value) for (partition, key), value in folded.items() if key == _CLOSED}
    expected = {partition: ["month", month] for partition, month in closed.items()}
    yield compare(
        f"fold of {_TOPIC}: settled months", {p: each for p, each in expected.items() if p in settled}, settled
    )
    wanted: dict[object, object] = {}
    for partition, outcomes in performance.outcomes.items():
        reports = performance.reports.get(partition, ())
        wanted |= {
            (partition, *at): figures for at, figures in _scopes(list(outcomes), list(reports), closed[partition])
        }
    found: dict[object, object] = {(partition, *at): figures for partition, at, figures in read_metrics(folded)}
    yield compare(f"fold of {_TOPIC}: metrics", wanted, found, same_figures)


def read_metrics(folded: Folded) -> Iterator[tuple[int, tuple[int | None, Scope], dict[str, Any]]]:
    """Yield partition, month, scope and figures of each set of metrics."""
    for (partition, key), value in folded.items():
        if key[:1] == _METRICS and key != _CLOSED:
            window, *names = msgspec.msgpack.decode(key[1:])
            stored = msgspec.msgpack.decode(value, type=_Stored)
            figures = {} if stored.metrics is None else _measured(stored.metrics)
            rest = {"after_close": stored.after_close, "changed": stored.changed, "by": stored.window}
            yield (
                partition,
                (window, Scope(*names)),
                {"counts": stored.counts, "pairs": stored.pairs, **figures, **rest},
            )


def _scopes(
    outcomes: list[Outcome], reports: list[Report], closed: int
) -> Iterator[tuple[tuple[int | None, Scope], dict[str, Any]]]:
    """Yield what must be left: of all time, and of each month that is open."""
    for scope, mine in scopes_of(outcomes).items():
        told = [report for report in reports if report.scope == scope]
        so_far = max((report.outcomes for report in told if report.month is None), default=0)
        settled = sum(outcome.month <= closed for outcome in mine)
        in_reports = sum(report.outcomes for report in told if report.month is not None)
        missed = settled - in_reports if scope.version is None and scope.slice is None else 0
        rest = {"after_close": missed, "changed": so_far < len(mine), "by": "month"}
        yield (None, scope), {**describe(mine), **rest}
        for month in sorted({outcome.month for outcome in mine if outcome.month > closed}):
            rest = {"after_close": 0, "changed": True, "by": "month"}
            yield (month, scope), {**describe([each for each in mine if each.month == month]), **rest}


def _measured(pickled: bytes) -> dict[str, Any]:
    """Return pickled metrics in the form of ``describe``."""
    metrics = _Unpickler(io.BytesIO(pickled)).load()
    found = {name: float(metrics[name].get()) for name in ("Accuracy", "Precision", "Recall", "F1")}
    losses, calibration = metrics["LogLoss"], metrics["CalibrationError"]
    bins = np.array([calibration.pairs, calibration.scores, calibration.positives])
    found["LogLoss"] = losses.total / losses.weight
    found["CalibrationError"] = float(np.abs(bins[1] - bins[2]).sum() / bins[0].sum())
    figures: dict[str, Any] = {"metrics": found, "calibration": _bins(bins)}
    area = _area(metrics["ROCAUC"].counts)
    return figures if area is None else {**figures, "auc": area}


def _bins(bins: Any) -> list[dict[str, float]]:
    width = bins.shape[1]
    return [
        {
            "lower": place / width,
            "upper": (place + 1) / width,
            "count": int(pairs),
            "score": score / pairs,
            "truth": positive / pairs,
        }
        for place, (pairs, score, positive) in enumerate(bins.T.tolist())
        if pairs
    ]


def _area(counts: bytes) -> float | None:
    """Return the area under the curve of counts by bin: gaps between twice the bin, one more for positives.

    Pairs within a bin count half; ``None`` while one of the classes is missing.
    """
    gaps, amounts = msgspec.msgpack.decode(counts, type=tuple[list[int], list[int]])
    by_bin: dict[int, list[int]] = {}
    for key, amount in zip(accumulate(gaps), amounts, strict=True):
        by_bin.setdefault(key >> 1, [0, 0])[key & 1] += amount
    below = won = 0.0
    for negatives, positives in by_bin.values():
        won += positives * (below + negatives / 2)
        below += negatives
    pairs = below * sum(positives for _, positives in by_bin.values())
    return won / pairs if pairs else None


class _Fields:
    """Stands in for a class of the engine: what was in its objects, and nothing that they do."""


class _Unpickler(pickle.Unpickler):
    @override
    def find_class(self, module_name: str, global_name: str, /) -> Any:
        return _Fields if module_name.startswith(_OWN) else super().find_class(module_name, global_name)
