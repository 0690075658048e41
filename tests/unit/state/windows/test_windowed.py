"""What a state of windows promises beside its values: lateness, changes, changelog, memory and cost."""

from __future__ import annotations

from typing import Any

import pytest

from streamserve import aggregates
from streamserve.errors import AgentError, ConfigurationError, PlanError, WindowError
from streamserve.state.windows import WindowedState, WindowResult, WindowSpec, hopping, session, sliding, tumbling
from streamserve.state.windows.base import pane_key
from tests.unit.state.windows.driving import SPECS

_identity = aggregates.sum(lambda event: event)


def _state(spec: WindowSpec, aggregate: aggregates.Aggregate[Any] = _identity) -> WindowedState[Any]:
    return WindowedState("delays", spec, aggregate)


def _written(state: WindowedState[Any]) -> dict[bytes, bytes | None]:
    return dict(zip(*state.take_changes(), strict=True))


def test_rows_without_a_key_are_not_counted() -> None:
    for spec in SPECS.values():
        state = _state(spec)
        assert state.observe([None, b"a"], [0, 0], [1, 2]) == [None, 2]
        assert state.read([None], [0]) == [None]
        assert state.live_keys == 1


def test_a_late_row_is_counted_as_late_and_sees_what_is_left() -> None:
    state = _state(tumbling("10ms", grace="2ms"))
    state.closed(16)
    assert state.observe([b"a", b"a", None], [14, 13, 13], [1, 2, 4]) == [1, 1, None]
    assert state.late == 1


def test_a_late_row_within_grace_shows_in_its_windows_result() -> None:
    state = _state(tumbling("10ms", grace="5ms"))
    state.observe([b"a"], [9], [1])
    assert state.closed(14) == []
    state.observe([b"a"], [9], [2])
    assert state.closed(15) == [WindowResult(b"a", 0, 10, 3)]
    assert state.closed(100) == []


def test_results_come_by_end_and_key() -> None:
    state = _state(hopping("20ms", step="10ms"))
    state.observe([b"b", b"a", b"a"], [1, 2, 15], [1, 2, 3])
    results = state.closed(1_000)
    assert [(each.end_ms, each.key, each.value) for each in results] == [
        (10, b"a", 2),
        (10, b"b", 1),
        (20, b"a", 5),
        (20, b"b", 1),
        (30, b"a", 3),
    ]


def test_a_sparse_key_costs_nothing_between_its_hops() -> None:
    year = 365 * 86_400_000
    state = _state(hopping("2ms", step="1ms"))
    state.observe([b"a", b"a"], [0, year], [1, 2])
    assert [each.end_ms for each in state.closed(2 * year)] == [1, 2, year + 1, year + 2]


def test_a_watermark_that_goes_back_changes_nothing() -> None:
    state = _state(tumbling("10ms"))
    state.closed(50)
    state.take_changes()
    assert state.closed(20) == []
    assert (state.watermark_ms, state.take_changes()) == (50, ([], []))


def test_a_window_of_missing_values_is_a_window_with_no_result() -> None:
    state = _state(tumbling("10ms"))
    assert state.observe([b"a"], [0], [None]) == [None]
    assert state.closed(10) == [WindowResult(b"a", 0, 10, None)]


def test_a_session_ends_one_gap_after_its_last_event() -> None:
    state = _state(session("10ms"))
    assert state.observe([b"a"] * 3, [0, 9, 19], [1, 2, 4]) == [1, 3, 4]
    assert state.read([b"a"] * 3, [28, 29, -9]) == [4, None, 3]
    assert state.closed(29) == [WindowResult(b"a", 0, 19, 3), WindowResult(b"a", 19, 29, 4)]


def test_an_event_between_two_sessions_joins_them() -> None:
    state = _state(session("10ms", grace="1m"))
    assert state.observe([b"a"] * 3, [0, 15, 8], [1, 2, 4]) == [1, 2, 7]
    assert state.closed(100_000) == [WindowResult(b"a", 0, 25, 7)]


def test_a_counted_row_tells_the_window_that_it_changed() -> None:
    state = _state(session("10ms"))
    assert state.observe([b"a", b"a"], [8, 6], [1, 2]) == [1, 3]
    assert state.result_at(b"a", 6, 3) == WindowResult(b"a", 6, 18, 3)
    assert _state(hopping("20ms", step="5ms")).result_at(b"a", 7, None) == WindowResult(b"a", -10, 10, None)


@pytest.mark.parametrize(("kind", "start"), [("tumbling", 120), ("hopping", 120), ("sliding", 121), ("session", 100)])
def test_an_event_writes_one_pane(kind: str, start: int) -> None:
    state = _state(SPECS[kind])
    state.observe([b"a", b"b", *[b"a"] * 5], [100, 100, 104, 108, 112, 116, 120], [1] * 7)
    state.take_changes()
    state.observe([b"a"], [121], [1])
    assert set(_written(state)) == {pane_key((start, b"a")), b"clock"}


def test_reading_writes_nothing() -> None:
    for spec in SPECS.values():
        state = _state(spec)
        state.observe([b"a"], [100], [1])
        state.take_changes()
        state.read([b"a", b"b"], [101, 101])
        assert state.at(b"a", 101) == 1
        assert state.take_changes() == ([], [])


@pytest.mark.parametrize("spec", SPECS.values())
def test_idle_keys_leave_memory_and_changelog(spec: WindowSpec) -> None:
    state = _state(spec)
    log: dict[bytes, bytes | None] = {}
    for time in range(0, 5_000, 5):
        key = b"%d" % (time // 10)
        state.observe([key, b"busy"], [time, time], [1, 1])
        state.advance(time)
        log.update(_written(state))
        assert state.live_keys <= 8
        assert sum(value is not None for value in log.values()) <= 16


def test_a_changelog_of_another_version_is_refused() -> None:
    state = _state(tumbling("10ms"))
    with pytest.raises(ConfigurationError, match="state 'delays': a changelog record has format version 9"):
        state.load([pane_key((0, b"a"))], [b"\x09..."])


@pytest.mark.parametrize("other", [_state(tumbling("20ms")), _state(tumbling("10ms"), aggregates.count())])
def test_a_changelog_of_another_window_or_aggregate_is_refused(other: WindowedState[Any]) -> None:
    state = _state(tumbling("10ms"))
    state.observe([b"a"], [0], [1])
    other.load(*state.take_changes())
    with pytest.raises(ConfigurationError, match="its changelog holds sum over tumbling 10/10 ms"):
        other.loaded()


def test_a_longer_grace_declared_later_opens_no_window_again() -> None:
    state = _state(hopping("20ms", step="10ms"))
    state.observe([b"a"], [5], [1])
    assert [each.end_ms for each in state.closed(10)] == [10]
    other = _state(hopping("20ms", step="10ms", grace="1m"))
    other.load(*state.take_changes())
    other.loaded()
    assert other.observe([b"a", b"a"], [9, 10], [2, 4]) == [1, 5]
    assert other.late == 1
    assert [(each.end_ms, each.value) for each in other.closed(100_000)] == [(20, 5), (30, 4)]


def test_deleted_records_stay_deleted() -> None:
    state = _state(tumbling("10ms"))
    state.load([pane_key((0, b"a"))], [b"\x01..."])
    state.load([pane_key((0, b"a"))], [None])
    state.loaded()
    assert state.live_keys == 0


def test_an_event_that_cannot_be_read_changes_nothing() -> None:
    state = _state(tumbling("10ms"))
    with pytest.raises(WindowError):
        state.observe([b"a", b"b"], [0, 0], [1, "2"])
    assert (state.live_keys, state.at(b"a", 0)) == (1, 1)


def test_a_function_that_raises_is_named() -> None:
    def fail(_state: int, _event: object, _time: int) -> int:
        raise ZeroDivisionError

    broken = aggregates.custom("ratio", state=int, initial=int, add=fail, merge=int.__add__, result=float)
    with pytest.raises(AgentError, match=r"custom\(ratio\): its function 'add' raised ZeroDivisionError"):
        _state(tumbling("10ms"), broken).observe([b"a"], [0], [1])
    with pytest.raises(PlanError, match="needs a name"):
        aggregates.custom("", state=int, initial=int, add=fail, merge=int.__add__, result=float)


@pytest.mark.parametrize("size", [10, 100, 1_000])
def test_the_cost_of_an_event_does_not_grow_with_the_window(size: int) -> None:
    calls = 0

    def merge(one: int, other: int) -> int:
        nonlocal calls
        calls += 1
        return one + other

    total = aggregates.custom(
        "n", state=int, initial=int, add=lambda n, _event, _time: n + 1, merge=merge, result=lambda n: n
    )
    state = _state(sliding(f"{size}ms"), total)
    events = 3_000
    answers = state.observe([b"a"] * events, range(events), [None] * events)
    assert answers[-1] is not None
    assert calls <= 5 * events
