from __future__ import annotations

from math import log

import pytest
from hypothesis import given
from hypothesis import strategies as st

from topologies.flights.report import auc, by_month, log_loss

scored = st.lists(st.tuples(st.booleans(), st.sampled_from([0.1, 0.2, 0.5, 0.7, 0.9])), min_size=1, max_size=40)


@given(scored)
def test_auc_is_the_share_of_pairs_in_the_right_order(pairs: list[tuple[bool, float]]) -> None:
    late = [score for label, score in pairs if label]
    punctual = [score for label, score in pairs if not label]
    wins = [1.0 if a > b else 0.5 if a == b else 0.0 for a in late for b in punctual]
    expected = pytest.approx(sum(wins) / len(wins)) if wins else None
    assert auc([label for label, _ in pairs], [score for _, score in pairs]) == expected


@given(scored)
def test_log_loss_is_the_mean_surprise(pairs: list[tuple[bool, float]]) -> None:
    surprise = [-log(score if label else 1 - score) for label, score in pairs]
    assert log_loss(*zip(*pairs, strict=True)) == pytest.approx(sum(surprise) / len(surprise))


def test_certainty_that_is_wrong_costs_a_finite_amount() -> None:
    assert log_loss([True], [0.0]) == pytest.approx(-log(1e-7))


def test_log_loss_is_undefined_without_labels() -> None:
    assert log_loss([], []) is None


def test_months_come_in_order_and_count_what_could_not_be_judged() -> None:
    probabilities = {"2013-02-01-UA-1-EWR": 0.5, "2013-01-01-UA-1-EWR": 0.9, "2013-01-02-UA-1-EWR": 0.1}
    january, february = by_month(probabilities, {"2013-01-01-UA-1-EWR": True, "2013-01-02-UA-1-EWR": False})
    assert (january.month, january.predictions, january.labelled, january.auc) == ("2013-01", 2, 2, 1.0)
    assert january.late_share == 0.5
    assert (february.predictions, february.labelled, february.auc, february.log_loss) == (1, 0, None, None)
