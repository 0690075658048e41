from __future__ import annotations

from datetime import timedelta

import pytest

from streamserve.errors import PlanError
from streamserve.state.windows import hopping, session, sliding, tumbling


def test_windows_are_half_open_and_aligned_to_the_epoch() -> None:
    assert tumbling("10ms").bounds(19) == (10, 20)
    assert tumbling("10ms").bounds(20) == (20, 30)
    assert tumbling("10ms").bounds(-1) == (-10, 0)
    assert hopping("10ms", step="5ms").bounds(19) == (10, 20)
    assert sliding("10ms").bounds(19) == (10, 20)


def test_durations_are_texts_or_timedeltas() -> None:
    assert session(timedelta(seconds=2), grace="1s").size_ms == 2_000
    assert session("2s", grace="1s").grace_ms == 1_000


@pytest.mark.parametrize("size", ["0s", timedelta(0)])
def test_a_window_without_length_is_refused(size: str | timedelta) -> None:
    with pytest.raises(PlanError, match="length of 0"):
        tumbling(size)


def test_a_step_that_does_not_divide_the_size_is_refused() -> None:
    with pytest.raises(PlanError, match="7000 ms does not divide 60000 ms"):
        hopping("1m", step="7s")


def test_a_step_above_the_size_is_refused() -> None:
    with pytest.raises(PlanError, match="does not divide"):
        hopping("1m", step="2m")


def test_a_text_that_is_no_duration_is_refused_with_the_window_named() -> None:
    with pytest.raises(PlanError, match="a sliding window: 'an hour' is not a duration"):
        sliding("an hour")
