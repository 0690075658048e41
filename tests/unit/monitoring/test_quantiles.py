from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve.monitoring.quantiles import QuantileSketch
from streamserve.monitoring.rows import Floats

PROBABILITIES = (0.0, 0.01, 0.25, 0.5, 0.75, 0.99, 1.0)


def sketch_of(values: Floats, batch: int) -> QuantileSketch:
    sketch = QuantileSketch(columns=1)
    for start in range(0, len(values), batch):
        sketch.add(values[None, start : start + batch])
    return sketch


def rank_distance(values: Floats, answer: float, probability: float) -> float:
    """How many rows lie between the answer and the nearest value that has the wanted rank."""
    wanted = probability * len(values)
    lowest, highest = np.count_nonzero(values < answer), np.count_nonzero(values <= answer)
    return max(lowest - wanted, wanted - highest, 0.0)


@pytest.mark.parametrize("order", ["random", "rising", "falling", "zigzag"])
@pytest.mark.parametrize("size", [1_000, 20_000])
def test_ranks_are_right_within_the_stated_error_in_any_order(order: str, size: int) -> None:
    values = np.random.default_rng(1).lognormal(size=size)
    if order != "random":
        values.sort()
    if order == "falling":
        values = values[::-1]
    if order == "zigzag":
        values = np.stack([values[: size // 2], values[::-1][: size // 2]]).T.ravel()
    sketch = sketch_of(values, 256)
    for probability, answer in zip(PROBABILITIES, sketch.quantiles(PROBABILITIES)[0], strict=True):
        assert rank_distance(values, answer, probability) <= sketch.rank_error


def test_the_typical_error_is_below_half_a_percent_at_100_000_rows() -> None:
    values = np.random.default_rng(2).normal(size=100_000)
    answers = sketch_of(values, 256).quantiles(PROBABILITIES)[0]
    errors = [rank_distance(values, answer, p) for p, answer in zip(PROBABILITIES, answers, strict=True)][1:-1]
    assert max(errors) <= 0.005 * len(values)


def test_the_stated_error_is_that_of_the_docstring() -> None:
    shares = [sketch_of(np.zeros(size), 256).rank_error / size for size in (1_000, 10_000, 1_000_000)]
    assert shares == pytest.approx([0.008, 0.019, 0.028], abs=0.001)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=255))
def test_up_to_255_values_are_exact(values: list[float]) -> None:
    array = np.array(values)
    expected = np.quantile(array, PROBABILITIES, method="inverted_cdf")
    np.testing.assert_array_equal(sketch_of(array, 7).quantiles(PROBABILITIES)[0], expected)


def test_missing_values_are_left_out_of_each_column() -> None:
    sketch = QuantileSketch(columns=3)
    numbers = np.full((3, 1_000), np.nan)
    numbers[0] = np.arange(1_000)
    numbers[1, ::2] = np.arange(500)
    sketch.add(numbers)
    medians = sketch.quantiles([0.5])[:, 0]
    assert medians[:2] == pytest.approx([500, 250], abs=sketch.rank_error)
    assert np.isnan(medians[2])


def test_an_empty_sketch_has_no_quantiles() -> None:
    assert np.isnan(QuantileSketch(columns=2).quantiles([0.5])).all()


def test_the_same_values_give_the_same_state_every_time() -> None:
    values = np.random.default_rng(3).normal(size=5_000)
    first, second = sketch_of(values, 256), sketch_of(values, 256)
    assert {level: kept.tolist() for level, kept in first.levels.items()} == {
        level: kept.tolist() for level, kept in second.levels.items()
    }
