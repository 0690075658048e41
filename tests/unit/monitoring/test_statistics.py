from __future__ import annotations

from bisect import bisect_right

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from streamserve.baseline import CategoricalBaseline, NumericBaseline
from streamserve.monitoring.rows import Floats
from streamserve.monitoring.statistics import MAX_CATEGORIES, CategoryCounts, Measures, NumericStatistics

EDGES = np.array([-10.0, 0.0, 10.0])

numbers = arrays(
    np.float64,
    array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=40),
    elements=st.one_of(st.floats(-1e6, 1e6), st.just(float("nan")), st.sampled_from([-10.0, 0.0, 10.0])),
)


def statistics_of(values: Floats, batch: int) -> NumericStatistics:
    statistics = NumericStatistics([EDGES] * len(values), quantiles=False)
    for start in range(0, values.shape[1], batch):
        statistics.update(values[:, start : start + batch])
    return statistics


@settings(max_examples=60)
@given(numbers, st.integers(1, 40))
def test_merged_batches_give_the_figures_of_the_whole(values: Floats, batch: int) -> None:
    statistics = statistics_of(values, batch)
    for index, column in enumerate(values):
        present = column[~np.isnan(column)]
        assert statistics.counts[index] == len(present)
        assert statistics.rows == len(column)
        bins = [bisect_right(EDGES.tolist(), value) for value in present.tolist()]
        assert statistics.histograms[index].tolist() == [bins.count(number) for number in range(4)]
        if len(present):
            assert statistics.means[index] == pytest.approx(present.mean(), rel=1e-9, abs=1e-6)
            assert statistics.minima[index] == present.min()
            assert statistics.maxima[index] == present.max()
        if len(present) > 1:
            assert statistics.variance(index) == pytest.approx(present.var(ddof=1), rel=1e-6, abs=1e-6)


def test_variance_survives_a_large_offset() -> None:
    values = np.random.default_rng(4).normal(1e9, 1.0, size=(1, 20_000))
    assert statistics_of(values, 256).variance(0) == pytest.approx(values.var(ddof=1), rel=1e-6)


def test_a_column_without_values_has_extremes_of_nan_and_no_variance() -> None:
    statistics = statistics_of(np.full((1, 3), np.nan), 2)
    assert np.isnan(statistics.minima[0])
    assert np.isnan(statistics.maxima[0])
    assert statistics.variance(0) == 0.0


def test_categories_outside_the_baseline_are_other() -> None:
    counts = CategoryCounts(["EWR", "JFK"])
    counts.update(["EWR", "XXX", None, "EWR"])
    assert (counts.counts, counts.other, counts.nulls) == ({"EWR": 2, "JFK": 0}, 1, 1)


def test_without_a_baseline_the_first_categories_are_told_apart() -> None:
    counts = CategoryCounts(None)
    counts.update([str(number) for number in range(MAX_CATEGORIES + 5)])
    counts.update(["0"])
    assert (len(counts.counts), counts.counts["0"], counts.other) == (MAX_CATEGORIES, 2, 5)


def test_the_kind_of_a_baseline_decides_over_the_declared_type() -> None:
    categorical = CategoricalBaseline(categories={"1": 1}, count=1, nulls=0)
    numeric = NumericBaseline(edges=(0.5,), counts=(1, 1), count=2, nulls=0, mean=0.5, variance=0.5)
    columns: dict[str, type] = {"hour": int, "late": bool, "origin": str}
    measures = Measures.of(columns, {"hour": categorical, "late": numeric}, [])
    assert (measures.numeric, measures.categorical) == (("late",), ("hour", "origin"))
    assert measures.known == (("1",), None)


def test_columns_of_other_types_are_refused() -> None:
    with pytest.raises(TypeError, match="column 'raw' is a bytes"):
        Measures.of({"raw": bytes}, {}, [])
