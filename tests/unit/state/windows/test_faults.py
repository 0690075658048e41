"""Events on which an aggregate fails: a window is then what it would be without them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamserve import aggregates
from streamserve.aggregates import Aggregate
from streamserve.errors import AgentError, WindowError
from streamserve.state.windows import WindowedState, WindowResult, hopping, session, sliding, tumbling
from tests.unit.state.windows.driving import SPECS, found, histories, restarted
from tests.unit.state.windows.reference import Row

LIMIT = 12
"""The functions of ``limited`` raise where a state would get larger."""

quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def _within_limit(total: int) -> int:
    if total > LIMIT:
        raise OverflowError
    return total


def _add(state: int, row: Row, _time_ms: int) -> int:
    if row.value == -5:  # the poison of these tests
        return "not a state"  # pyright: ignore[reportReturnType] - the point
    return _within_limit(state + abs(int(row.value or 0)))


def _plus(state: int, event: int, _time_ms: int) -> int:
    return state + event


def limited() -> Aggregate[int]:
    return aggregates.custom(
        "limited",
        state=int,
        initial=int,
        add=_add,
        merge=lambda earlier, later: _within_limit(earlier + later),
        result=lambda state: state,
    )


def _go_through(
    kind: str, batches: Sequence[Sequence[Row]], left_out: set[tuple[int, int]], restarts: set[int]
) -> tuple[list[Any], set[tuple[int, int]], list[Any], dict[bytes, bytes | None]]:
    """Return what rows see, those at fault, what closes and the changelog; rows of ``left_out`` only read."""
    state: WindowedState[Any] = WindowedState("w", SPECS[kind], limited())
    log: dict[bytes, bytes | None] = {}
    seen: list[Any] = []
    closed: list[Any] = []
    at_fault: set[tuple[int, int]] = set()
    for number, batch in enumerate(batches):
        updates = [row.update and (number, place) not in left_out for place, row in enumerate(batch)]
        answers, faults = state.count([row.key for row in batch], [row.time for row in batch], batch, updates)
        seen += answers
        at_fault |= {(number, place) for place in faults if updates[place]}
        closed += found(state.closed(max(row.time for row in batch) - 5))
        if number in restarts:
            state = restarted(state, SPECS[kind], limited(), log)
    log.update(zip(*state.take_changes(), strict=True))
    return seen, at_fault, closed, {key: value for key, value in log.items() if value is not None}


@pytest.mark.parametrize("kind", SPECS)
@quickly
@given(histories(), st.sets(st.integers(0, 8)))
def test_events_on_which_functions_raise_leave_a_window_as_if_they_had_not_been(
    kind: str, batches: list[list[Row]], restarts: set[int]
) -> None:
    seen, at_fault, closed, log = _go_through(kind, batches, set(), restarts)
    without = _go_through(kind, batches, at_fault, restarts)
    assert without == (seen, set(), closed, log)


def test_a_key_whose_first_event_failed_keeps_its_panes_as_long_as_others_do() -> None:
    rows = [Row(b"a", 0, 13.0), Row(b"a", 51, None), Row(b"a", 29, None)]
    seen, at_fault, closed, log = _go_through("hopping", [rows], set(), set())
    assert at_fault == {(0, 0)}
    assert _go_through("hopping", [rows], at_fault, set()) == (seen, set(), closed, log)


@pytest.mark.parametrize(
    "aggregate", [aggregates.min("v"), aggregates.max("v"), aggregates.last("v"), aggregates.distinct("v")]
)
@pytest.mark.parametrize("spec", [tumbling("10ms"), hopping("10ms", step="5ms"), sliding("9ms"), session("5ms")])
def test_an_event_of_a_wrong_type_is_the_only_one_at_fault(spec: Any, aggregate: Aggregate[Any]) -> None:
    values: list[Any] = [1, ["no"], "text", datetime(2024, 1, 1), b"b", datetime(2024, 1, 1, tzinfo=UTC)]  # noqa: DTZ001 - the point
    state: WindowedState[Any] = WindowedState("w", spec, aggregate)
    answers, faults = state.count([b"a"] * 6, range(6), [{"v": value} for value in values], [True] * 6)
    assert {row: type(fault) for row, fault in faults.items()} == {1: WindowError, 3: WindowError}
    good: WindowedState[Any] = WindowedState("w", spec, aggregate)
    kept = [0, 2, 4, 5]
    assert good.observe([b"a"] * 4, kept, [{"v": values[row]} for row in kept]) == [answers[row] for row in kept]


def test_values_of_different_kinds_have_one_order() -> None:
    values = [datetime(2024, 1, 1, tzinfo=UTC), b"b", "text", 7]
    for events in (values, values[::-1]):
        rows = [{"v": value} for value in events]
        least: WindowedState[Any] = WindowedState("w", hopping("20ms", step="1ms"), aggregates.min("v"))
        most: WindowedState[Any] = WindowedState("w", hopping("20ms", step="1ms"), aggregates.max("v"))
        assert least.observe([b"a"] * 4, range(4), rows)[-1] == values[-1]
        assert most.observe([b"a"] * 4, range(4), rows)[-1] == values[0]


def test_a_result_that_cannot_be_made_does_not_keep_the_others_from_closing() -> None:
    share = aggregates.custom(
        "share",
        state=int,
        initial=int,
        add=_plus,
        merge=int.__add__,
        result=lambda state: 1 / state,
    )
    for spec in (tumbling("10ms"), hopping("10ms", step="10ms"), session("9ms")):
        state: WindowedState[float] = WindowedState("w", spec, share)
        answers, faults = state.count([b"a", b"b"], [1, 1], [2, 4], [True, True])
        assert (answers, faults) == ([0.5, 0.25], {})
        (fault,) = state.count([b"a"], [2], [-2], [True])[1].values()
        assert isinstance(fault, AgentError)
        assert [result.value for result in state.closed(100)] == [0.5, 0.25]


def test_a_window_whose_result_fails_only_when_it_closes_is_closed_with_its_fault() -> None:
    calls = iter(range(100))

    def result(state: int) -> int:
        if next(calls) == 3:  # the close of the first window, after two events and nothing
            raise ValueError
        return state

    broken = aggregates.custom(
        "broken", state=int, initial=int, add=lambda n, _e, _t: n + 1, merge=int.__add__, result=result
    )
    state: WindowedState[int] = WindowedState("w", tumbling("10ms"), broken)
    state.count([b"a"], [1], [None], [True])
    state.count([b"b"], [1], [None], [False])
    first, *others = state.closed(100)
    assert (first.key, type(first.fault), others) == (b"a", AgentError, [])
    assert state.closed(200) == []


def test_a_share_over_nothing_is_none() -> None:
    share = aggregates.custom(
        "share", state=int, initial=int, add=lambda n, _e, _t: n + 1, merge=int.__add__, result=lambda n: 1 / n
    )
    state: WindowedState[float] = WindowedState("w", tumbling("10ms"), share)
    assert state.read([b"a"], [0]) == [None]
    assert state.observe([b"a"], [0], ["event"]) == [1.0]
    assert state.closed(100) == [WindowResult(b"a", 0, 10, 1.0)]


@pytest.mark.parametrize("restart", [False, True])
def test_what_functions_and_readers_are_given_does_not_depend_on_restarts(restart: bool) -> None:
    def keep(state: Any, value: int, _time_ms: int) -> Any:
        return [*state, value] if type(state) is tuple else "not what was declared"

    def join(earlier: Any, later: Any) -> Any:
        return earlier + later

    kept = aggregates.custom("kept", state=tuple, initial=tuple, add=keep, merge=join, result=sum, field="n")
    newest = aggregates.max("at")
    in_new_york = datetime(2024, 1, 1, tzinfo=ZoneInfo("America/New_York"))
    events = [{"n": 1, "at": in_new_york}, {"n": 2, "at": in_new_york}]
    answers: list[Any] = []
    for aggregate in (kept, newest):
        state: WindowedState[Any] = WindowedState("w", tumbling("10ms"), aggregate)
        state.observe([b"a"], [1], events[:1])
        if restart:
            state = restarted(state, tumbling("10ms"), aggregate, {})
        answers += state.observe([b"a"], [2], events[1:])
    assert [str(answer) for answer in answers] == ["3", "2024-01-01 05:00:00+00:00"]
