from __future__ import annotations

import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.state.timers import Timers

steps = st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.none() | st.integers(0, 20)))


def test_due_timers_come_by_time_then_by_key_each_once() -> None:
    timers = Timers()
    for key, at_ms in ((b"late", 30), (b"b", 10), (b"a", 10), (b"early", 5)):
        timers.set(key, at_ms)
    assert timers.due(10) == [(b"early", 5), (b"a", 10), (b"b", 10)]
    assert timers.due(10) == []
    assert len(timers) == 1


def test_a_timer_set_again_after_it_was_due_comes_again() -> None:
    timers = Timers()
    timers.set(b"a", 10)
    assert timers.due(10) == [(b"a", 10)]
    timers.set(b"a", 10)
    assert timers.due(10) == [(b"a", 10)]


def test_a_timer_moved_away_and_back_comes_once() -> None:
    timers = Timers()
    for at_ms in (10, 20, 10):
        timers.set(b"a", at_ms)
    assert timers.due(30) == [(b"a", 10)]


def test_a_timer_replaced_again_and_again_does_not_pile_up() -> None:
    timers = Timers()
    for at_ms in range(10_000):
        timers.set(b"hot", at_ms)
    assert len(pickle.dumps(timers)) < 10_000
    assert timers.due(10_000) == [(b"hot", 9_999)]


def test_timers_that_are_too_many_come_bit_by_bit_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamserve.state.timers.MOST_DUE_AT_ONCE", 2)
    timers = Timers()
    for at_ms in range(5):
        timers.set(b"%d" % at_ms, at_ms)
    assert [len(timers.due(9)) for _ in range(4)] == [2, 2, 1, 0]


@given(st.lists(st.tuples(steps, st.integers(0, 20))))
def test_timers_are_what_a_dictionary_says(rounds: list[tuple[list[tuple[bytes, int | None]], int]]) -> None:
    timers, model = Timers(), dict[bytes, int]()
    for changes, watermark_ms in rounds:
        for key, at_ms in changes:
            if at_ms is None:
                timers.delete(key)
                model.pop(key, None)
            else:
                timers.set(key, at_ms)
                model[key] = at_ms
            assert timers.next_ms == min(model.values(), default=None)
        expected = sorted((item for item in model.items() if item[1] <= watermark_ms), key=lambda item: item[::-1])
        assert timers.due(watermark_ms) == expected
        model = {key: at_ms for key, at_ms in model.items() if at_ms > watermark_ms}
