from __future__ import annotations

import functools
import math
import pickle
import subprocess
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import base, metrics
from sklearn import metrics as exact

from streamserve.errors import ConfigurationError
from streamserve.monitoring.labels.metrics import MetricSet, Templates
from streamserve.monitoring.labels.plan import PerformancePlan
from streamserve.monitoring.labels.running import MAX_BINS, ROCAUC, LogLoss
from streamserve.monitoring.rows import Floats


class Sequential(metrics.base.RegressionMetric):
    """The largest error since the last exact answer: a user's metric, for which the order counts."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale
        self.largest = 0.0

    def update(self, y_true: float, y_pred: float) -> None:
        self.largest = max(self.largest, self.scale * abs(y_true - y_pred)) if y_true != y_pred else 0.0

    def revert(self, y_true: float, y_pred: float) -> None:
        raise NotImplementedError

    def get(self) -> float:
        return self.largest

    def works_with(self, model: base.Estimator) -> bool:
        return isinstance(model, base.Regressor)


def pairs(n: int = 4_000, seed: int = 3, spread: float = 1.0) -> tuple[Floats, Floats]:
    rng = np.random.default_rng(seed)
    truths = (rng.random(n) < 0.3).astype(np.float64)
    return truths, 1 / (1 + np.exp(-(rng.normal(size=n) + truths - 0.5) * spread))


def fed(plan: PerformancePlan, truths: Floats, scores: Floats, cuts: Sequence[int] = ()) -> MetricSet:
    running = MetricSet(Templates(plan))
    for part, given_scores in zip(np.split(truths, cuts), np.split(scores, cuts), strict=True):
        running.update(part, given_scores)
    return running


BINARY = PerformancePlan(within_ms=0)
REGRESSION = PerformancePlan(within_ms=0, task="regression")


@pytest.mark.parametrize("threshold", [0.5, 0.4, 0.99999])
def test_metrics_of_classes_equal_scikit_learns(threshold: float) -> None:
    truths, scores = pairs()
    values = fed(PerformancePlan(within_ms=0, threshold=threshold), truths, scores, [1, 2, 500]).values()
    classes = scores >= threshold
    assert values == pytest.approx(
        {
            "Accuracy": exact.accuracy_score(truths, classes),
            "Precision": exact.precision_score(truths, classes, zero_division=0.0),
            "Recall": exact.recall_score(truths, classes),
            "F1": exact.f1_score(truths, classes),
            "LogLoss": exact.log_loss(truths, scores),
            "ROCAUC": pytest.approx(exact.roc_auc_score(truths, scores), abs=1e-4),
            "CalibrationError": values["CalibrationError"],
        },
        abs=1e-9,
    )


def test_metrics_of_numbers_equal_scikit_learns() -> None:
    rng = np.random.default_rng(5)
    truths, scores = rng.normal(size=900), rng.normal(size=900) * 100
    squared = exact.mean_squared_error(truths, scores)
    expected = {"MAE": exact.mean_absolute_error(truths, scores), "RMSE": math.sqrt(squared)}
    assert fed(REGRESSION, truths, scores, [7, 8]).values() == pytest.approx(expected, abs=1e-9)


SCORES: dict[str, Callable[[Floats], Floats]] = {
    "spread": lambda p: p,
    "low": lambda p: p**12,
    "high": lambda p: 1 - (1 - p) ** 12,
    "narrow": lambda p: 0.2 + 0.05 * p,
    "rare": lambda p: p * 1e-5,
    "very narrow": lambda p: 0.2 + 0.0001 * p,
    "rounded": lambda p: np.round(p, 1).astype(np.float64),
    "float32": lambda p: p.astype(np.float32).astype(np.float64),
    "only 0 and 1": lambda p: (p > 0.5).astype(np.float64),
}


@pytest.mark.parametrize("shape", SCORES)
def test_the_area_under_the_curve_is_within_a_thousandth_of_the_exact_one(shape: str) -> None:
    truths, scores = pairs(12_000)
    scores = SCORES[shape](scores)
    metric = ROCAUC()
    metric.update_many(truths, scores)
    error = abs(metric.get() - exact.roc_auc_score(truths, scores))
    assert error < 0.001
    assert error <= metric.error_bound + 1e-12


def test_bins_do_not_depend_on_the_order_of_scores() -> None:
    truths, scores = pairs(3 * MAX_BINS)
    forward, backward = ROCAUC(), ROCAUC()
    forward.update_many(truths, scores)
    for part in np.array_split(np.arange(len(truths))[::-1], 7):
        backward.update_many(truths[part], scores[part])
    assert backward.counts == forward.counts
    assert len(forward.counts) <= MAX_BINS
    assert pickle.dumps(backward) == pickle.dumps(forward)


@given(st.lists(st.tuples(st.booleans(), st.floats(0, 1)), min_size=2, max_size=60))
def test_the_error_of_the_area_is_never_beyond_its_bound(drawn: list[tuple[bool, float]]) -> None:
    truths, scores = np.array([truth for truth, _ in drawn]) * 1.0, np.array([score for _, score in drawn])
    metric = ROCAUC()
    metric.update_many(truths, scores)
    if len(set(truths.tolist())) == 1:
        assert math.isnan(metric.get())
    else:
        assert abs(metric.get() - exact.roc_auc_score(truths, scores)) <= metric.error_bound + 1e-12


OTHERS = [
    metrics.MCC(),
    metrics.CohenKappa(),
    metrics.BalancedAccuracy(),
    metrics.FBeta(beta=2),
    metrics.Precision(pos_val=False),
    metrics.RollingROCAUC(window_size=200),
    metrics.CrossEntropy(),
    metrics.Rand(),
    metrics.MutualInfo(),
]


@pytest.mark.parametrize("metric", OTHERS, ids=lambda one: type(one).__name__)
def test_any_metric_of_river_has_the_value_of_one_update_after_the_other(metric: metrics.base.Metric) -> None:
    truths, scores = pairs(600)
    plan = PerformancePlan(within_ms=0, metrics=[metric])
    name = list(Templates(plan).configurations)[-1]
    alone: Any = metric.clone()
    for truth, score in zip(truths.tolist(), scores.tolist(), strict=True):
        given_score = {True: score, False: 1 - score} if isinstance(metric, metrics.CrossEntropy) else score
        alone.update(truth != 0, score >= 0.5 if alone.requires_labels else given_score)
    running = fed(plan, truths[:100], scores[:100])
    again = MetricSet.restore(running.dump(), Templates(plan).configurations, Templates(plan))
    again.update(truths[100:], scores[100:])
    assert again.values()[name] == pytest.approx(alone.get(), rel=1e-12)


def test_a_users_own_metric_is_fed_in_order_and_survives_a_restore() -> None:
    plan = PerformancePlan(within_ms=0, task="regression", metrics=[Sequential(scale=2.0)])
    running = fed(plan, np.array([1.0, 5.0, 2.0, 3.0]), np.array([9.0, 5.0, 2.5, 3.5]))
    again = MetricSet.restore(running.dump(), Templates(plan).configurations, Templates(plan))
    assert again.values()["Sequential"] == running.values()["Sequential"] == 1.0


@pytest.mark.parametrize("plan", [BINARY, REGRESSION], ids=["binary", "regression"])
@given(cuts=st.lists(st.integers(0, 300), max_size=8), restored=st.booleans())
def test_state_is_the_same_byte_for_byte_however_pairs_are_batched(
    plan: PerformancePlan, cuts: list[int], restored: bool
) -> None:
    truths, scores = pairs(300)
    once, split = fed(plan, truths, scores), fed(plan, truths, scores, sorted(cuts))
    templates = Templates(plan)
    if restored:
        split = MetricSet.restore(split.dump(), templates.configurations, templates)
    assert split.values() == once.values()
    assert split.calibration() == once.calibration()


def test_a_metric_configured_differently_starts_afresh_and_the_others_go_on() -> None:
    truths, scores = pairs(50)
    old = PerformancePlan(within_ms=0, metrics=[metrics.FBeta(beta=2)])
    new = PerformancePlan(within_ms=0, metrics=[metrics.FBeta(beta=3)])
    running = fed(old, truths, scores)
    again = MetricSet.restore(running.dump(), Templates(old).configurations, Templates(new)).values()
    assert again.pop("FBeta") == 0
    assert again == {name: value for name, value in running.values().items() if name != "FBeta"}


def test_a_metric_that_the_task_brings_anyway_is_not_there_twice() -> None:
    given_metrics = [metrics.ROCAUC(n_thresholds=10), metrics.F1(), metrics.F1(pos_val=False), LogLoss()]
    names = list(Templates(PerformancePlan(within_ms=0, metrics=given_metrics)).configurations)
    assert names == ["Accuracy", "Precision", "Recall", "F1", "LogLoss", "ROCAUC", "CalibrationError", "F1-2"]


def test_a_metric_with_figures_in_it_is_started_without_them() -> None:
    used: Any = metrics.MCC()
    used.update(y_true=True, y_pred=False)
    values = MetricSet(Templates(PerformancePlan(within_ms=0, metrics=[used]))).values()
    assert values["MCC"] == 0


def test_a_metric_that_could_not_be_kept_is_refused_at_once() -> None:
    given_metric = Sequential()
    vars(given_metric)["scale"] = lambda: 1.0
    with pytest.raises(ConfigurationError, match="Sequential cannot be kept across restarts"):
        Templates(PerformancePlan(within_ms=0, metrics=[given_metric]))


def test_damaged_state_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="cannot be read"):
        MetricSet.restore(b"\x80", {}, Templates(BINARY))


class Malicious:
    def __reduce__(self) -> tuple[object, tuple[object, str]]:
        return functools.partial, (subprocess.check_call, "false")


def test_state_cannot_smuggle_in_a_call_of_what_is_not_allowed() -> None:
    with pytest.raises(ConfigurationError, match=r"names subprocess.check_call, which is not allowed"):
        MetricSet.restore(pickle.dumps(Malicious()), {}, Templates(BINARY))


def test_calibration_tells_mean_score_and_share_of_positives_by_bin() -> None:
    bins = fed(BINARY, np.array([1.0, 0, 1, 1]), np.array([0.24, 0.26, 0.9, 1.0])).calibration()
    assert [count for _, _, count, _, _ in bins] == [2, 2]
    assert bins[0] == pytest.approx((0.2, 0.3, 2, 0.25, 0.5))
    assert bins[1][4] == 1.0
