from __future__ import annotations

import statistics
from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from streamserve.baseline import Baseline, CategoricalBaseline, NumericBaseline
from streamserve.inference.baseline import QUANTILES, build_baseline

ADAPTER = TypeAdapter[Baseline](Baseline)


def numeric(values: object, bins: int = 10) -> NumericBaseline:
    described = build_baseline({"x": values}, bins=bins)["x"]  # pyright: ignore[reportArgumentType]
    assert isinstance(described, NumericBaseline)
    return described


def test_a_spread_column_has_bins_of_equal_counts() -> None:
    baseline = numeric(np.arange(1000.0))
    assert len(baseline.counts) == 10
    assert baseline.counts == pytest.approx([100] * 10, abs=2)
    assert baseline.quantiles[0.5] == pytest.approx(499.5)
    assert tuple(baseline.quantiles) == QUANTILES
    assert (baseline.minimum, baseline.maximum) == (0.0, 999.0)


def test_none_and_nan_are_nulls() -> None:
    baseline = numeric([1.0, None, float("nan"), 3.0])
    assert (baseline.count, baseline.nulls, baseline.mean, baseline.variance) == (2, 2, 2.0, 2.0)


def test_frequent_values_have_bins_of_their_own() -> None:
    baseline = numeric([0.0] * 80 + [0.1] * 20)
    by_value = {value: bisect_right(baseline.edges, value) for value in (-1.0, 0.0, 0.05, 0.1, 9.0)}
    assert len(set(by_value.values())) == 5
    assert baseline.counts[by_value[0.0]] == 80
    assert bisect_right(baseline.edges, float(np.float32(0.1))) == by_value[0.1]


def test_a_constant_column_still_tells_other_values_apart() -> None:
    baseline = numeric([7] * 50)
    assert baseline.counts == (0, 50, 0)
    assert baseline.variance == 0.0


def test_a_column_without_values_has_no_figures() -> None:
    baseline = numeric([None, None])
    assert (baseline.count, baseline.nulls, baseline.mean, baseline.counts) == (0, 2, None, (0,))


def test_booleans_are_numbers() -> None:
    assert numeric([True, False, True, True]).mean == 0.75


def test_strings_are_counted_and_rare_ones_put_together() -> None:
    described = build_baseline({"carrier": ["AA", "UA", None, "AA", "DL"]}, max_categories=1)["carrier"]
    assert described == CategoricalBaseline(categories={"AA": 2}, other=2, count=4, nulls=1)


@pytest.mark.parametrize("values", [["a", 1.0], [b"a"], [float("inf")]])
def test_columns_that_are_no_column_are_refused(values: list[object]) -> None:
    with pytest.raises(ValueError, match="column 'x'"):
        build_baseline({"x": values})


@given(st.lists(st.none() | st.floats(-1e6, 1e6) | st.sampled_from([0.0, 1.0]), max_size=200), st.integers(1, 20))
def test_every_value_is_in_the_bin_that_live_values_fall_in(values: list[float | None], bins: int) -> None:
    baseline = numeric(values, bins)
    present = [value for value in values if value is not None]
    counted = [0] * len(baseline.counts)
    for value in present:
        counted[bisect_right(baseline.edges, value)] += 1
    assert tuple(counted) == baseline.counts
    if present:
        assert baseline.mean == pytest.approx(statistics.fmean(present), abs=1e-6)
    assert ADAPTER.validate_json(ADAPTER.dump_json({"x": baseline})) == {"x": baseline}


@pytest.mark.parametrize(
    "changes", [{"edges": (0.0, 0.0), "counts": (1, 1, 2)}, {"counts": (4,)}, {"count": 5}, {"variance": -1.0}]
)
def test_figures_that_contradict_each_other_are_refused(changes: dict[str, object]) -> None:
    sound = {"edges": (0.0,), "counts": (1, 3), "count": 4, "nulls": 0, "mean": 0.5, "variance": 1.0}
    NumericBaseline.model_validate(sound)
    with pytest.raises(ValidationError):
        NumericBaseline.model_validate({**sound, **changes})
