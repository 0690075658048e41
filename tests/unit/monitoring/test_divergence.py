from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.monitoring.divergence import population_stability_index


def test_psi_equals_the_sum_done_by_hand() -> None:
    by_hand = (0.5 - 0.2) * math.log(0.5 / 0.2) + (0.3 - 0.3) * math.log(1) + (0.2 - 0.5) * math.log(0.2 / 0.5)
    assert population_stability_index([20, 30, 50], [50, 30, 20]) == pytest.approx(by_hand)


def test_an_empty_bin_counts_as_a_share_of_one_in_ten_thousand() -> None:
    by_hand = (1 - 0.5) * math.log(1 / 0.5) + (0.0001 - 0.5) * math.log(0.0001 / 0.5)
    assert population_stability_index([5, 5], [10, 0]) == pytest.approx(by_hand)


def test_psi_is_undefined_when_either_side_is_empty() -> None:
    assert population_stability_index([0, 0], [1, 1]) is None
    assert population_stability_index([1, 1], [0, 0]) is None


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=20).filter(any), st.integers(1, 50))
def test_the_same_shares_have_no_distance(counts: list[int], factor: int) -> None:
    assert population_stability_index(counts, [count * factor for count in counts]) == pytest.approx(0, abs=1e-9)
