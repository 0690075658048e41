from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest

from streamserve.monitoring.labels.plan import PerformancePlan

BINARY = PerformancePlan(within_ms=1)
REGRESSION = PerformancePlan(within_ms=1, task="regression")


@pytest.mark.parametrize("value", ["0.5", None, math.nan, math.inf, -0.1, 1.1, b"1", [1]])
def test_a_score_that_is_no_probability_is_refused_without_quoting_it(value: object) -> None:
    with pytest.raises(ValueError, match=r"^the score is") as caught:
        BINARY.read_score(value)
    assert "0.5" not in str(caught.value)
    assert "1.1" not in str(caught.value)


@pytest.mark.parametrize(("value", "expected"), [(True, True), (0, False), (1.0, True)])
def test_truths_of_two_classes_are_true_or_false(value: object, expected: bool) -> None:
    assert BINARY.read_truth(value) is expected


def test_other_truths_are_refused_where_the_task_is_binary_only() -> None:
    with pytest.raises(ValueError, match="neither true nor false"):
        BINARY.read_truth(2)
    assert REGRESSION.read_truth(2) == REGRESSION.read_score(2) == 2.0


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"within_ms": -1}, "0 or more"),
        ({"window": 0}, "1 ms at least"),
        ({"threshold": math.nan}, "threshold"),
    ],
)
def test_what_cannot_be_is_refused_where_it_is_written(options: dict[str, Any], error: str) -> None:
    with pytest.raises(ValueError, match=error):
        replace(BINARY, **options)


def test_a_metric_that_is_none_of_rivers_is_refused() -> None:
    given: Any = [len]
    with pytest.raises(TypeError, match="is not a metric"):
        PerformancePlan(within_ms=1, metrics=given)


def test_months_are_counted_for_any_watermark() -> None:
    months = PerformancePlan(within_ms=1, window="month")
    assert months.window_of(-(2**60)) < 0 < months.window_of(2**60)
