from __future__ import annotations

import math
from datetime import UTC, datetime
from fractions import Fraction
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve import aggregates
from streamserve.state.windows.accumulators import Accumulator
from streamserve.state.windows.exact import ExactSum
from streamserve.state.windows.values import accumulator_of

_quickly = settings(max_examples=40, deadline=None)
_PAIRED = ("sum", "mean", "var", "min", "max", "last", "distinct")
_NUMBERS = st.one_of(st.integers(-(2**70), 2**70), st.floats(allow_nan=False, allow_infinity=False))


def _filled(accumulator: Accumulator[Any, Any], values: list[Any]) -> Any:
    state = accumulator.new()
    for time, value in enumerate(values):
        accumulator.add(state, value, time)
    return state


def _rounded(exact: Fraction) -> float:
    try:
        return float(exact)
    except OverflowError:
        return math.inf if exact > 0 else -math.inf


@_quickly
@given(st.lists(_NUMBERS, min_size=1))
def test_sums_and_means_are_exact_and_rounded_once(values: list[float]) -> None:
    total = sum(map(Fraction, values), Fraction())
    for aggregate, expected in (
        (aggregates.sum("x"), total),
        (aggregates.mean("x"), total / len(values)),
    ):
        accumulator = accumulator_of(aggregate)
        result = accumulator.result(_filled(accumulator, values))
        assert result == (expected if isinstance(result, int) else _rounded(expected))


def test_a_sum_of_integers_is_an_integer_and_of_floats_a_float() -> None:
    accumulator = accumulator_of(aggregates.sum("x"))
    assert repr(accumulator.result(_filled(accumulator, [2**80, 1]))) == repr(2**80 + 1)
    assert repr(accumulator.result(_filled(accumulator, [2.0, 1]))) == "3.0"


def test_variance_does_not_cancel() -> None:
    accumulator = accumulator_of(aggregates.var("x"))
    assert accumulator.result(_filled(accumulator, [1e9 + 0.1, 1e9 + 0.1])) == 0.0
    assert accumulator.result(_filled(accumulator, [1e15, 1e15 + 1, 1e15 + 2])) == 1.0


def test_a_variance_too_large_for_a_double_is_infinite() -> None:
    accumulator = accumulator_of(aggregates.var("x"))
    assert accumulator.result(_filled(accumulator, [1e300, -1e300])) == math.inf


@_quickly
@given(st.lists(_NUMBERS), st.lists(_NUMBERS))
def test_what_was_absorbed_can_be_removed_without_a_trace(kept: list[float], passing: list[float]) -> None:
    accumulator = accumulator_of(aggregates.var("x"))
    state: ExactSum = _filled(accumulator, kept)
    before = accumulator.result(state)
    other = _filled(accumulator, passing)
    accumulator.absorb(state, other)
    accumulator.remove(state, other)
    assert accumulator.result(state) == before


@pytest.mark.parametrize(
    "aggregate",
    [
        aggregates.count(),
        aggregates.sum("x"),
        aggregates.mean("x"),
        aggregates.var("x"),
        aggregates.quantile("x", 0.5),
        aggregates.min("x"),
        aggregates.max("x"),
        aggregates.last("x"),
        aggregates.distinct("x"),
    ],
)
@_quickly
@given(st.lists(_NUMBERS))
def test_a_state_written_and_read_goes_on_the_same(aggregate: aggregates.Aggregate[Any], values: list[float]) -> None:
    accumulator = accumulator_of(aggregate)
    state = _filled(accumulator, values)
    again = accumulator.decode(accumulator.encode(state))
    for each in (state, again):
        accumulator.add(each, 0.7, 10_000)
    assert accumulator.result(again) == accumulator.result(state)
    assert accumulator.encode(again) == accumulator.encode(state)


@_quickly
@given(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1), st.floats(0, 1))
def test_a_quantile_is_within_one_percent_of_its_value(values: list[float], q: float) -> None:
    accumulator = accumulator_of(aggregates.quantile("x", q))
    wanted = sorted(values)[math.floor(q * (len(values) - 1))]
    assert accumulator.result(_filled(accumulator, values)) == pytest.approx(wanted, rel=0.0100001, abs=5e-324)


def test_texts_instants_and_large_integers_come_back_as_they_were() -> None:
    accumulator = accumulator_of(aggregates.last("x"))
    for value in ("EWR", datetime(2013, 3, 1, 12, tzinfo=UTC), 2**100, -(2**63) - 1, True, b"\x00"):
        state = _filled(accumulator, [value])
        again = accumulator.result(accumulator.decode(accumulator.encode(state)))
        assert (type(again), again) == (type(value), value)


def test_a_mean_takes_few_bytes() -> None:
    accumulator = accumulator_of(aggregates.mean("x"))
    assert len(accumulator.encode(_filled(accumulator, [3, 4]))) <= 8
    assert len(accumulator.encode(_filled(accumulator, [0.1, 4.7]))) <= 20


@_quickly
@given(
    st.sampled_from([aggregates.count(), *(getattr(aggregates, kind)("x") for kind in _PAIRED)]),
    st.lists(_NUMBERS),
    st.lists(_NUMBERS, min_size=1),
)
def test_a_value_counted_in_two_states_at_once_counts_as_in_each(
    aggregate: aggregates.Aggregate[Any], earlier: list[float], values: list[float]
) -> None:
    accumulator = accumulator_of(aggregate)
    part, whole = accumulator.new(), _filled(accumulator, earlier)
    for time, value in enumerate(values, len(earlier)):
        accumulator.add_both(part, whole, value, time)
    assert accumulator.result(part) == accumulator.result(_filled(accumulator, values))
    assert accumulator.result(whole) == accumulator.result(_filled(accumulator, earlier + values))
