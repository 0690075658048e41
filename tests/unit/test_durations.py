"""Durations are written as people write them, and nothing else passes for one."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.durations import in_words, to_milliseconds


@given(st.integers(0, 400), st.integers(0, 23), st.integers(0, 59), st.integers(0, 59), st.integers(0, 999))
def test_text_and_timedelta_agree(days: int, hours: int, minutes: int, seconds: int, ms: int) -> None:
    given_as = timedelta(days=days, hours=hours, minutes=minutes, seconds=seconds, milliseconds=ms)
    assert to_milliseconds(f"{days}d{hours}h{minutes}m{seconds}s{ms}ms") == to_milliseconds(given_as)


@pytest.mark.parametrize("text", ["", "1", "s", "1 s", "-1s", "1s ", "1sec", "1e3s", "0.5.5s", "ms"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a duration"):
        to_milliseconds(text)


def test_time_does_not_run_backwards() -> None:
    with pytest.raises(ValueError, match="cannot be negative"):
        to_milliseconds(timedelta(seconds=-1))


@given(st.integers(0, 10**13))
def test_a_duration_in_words_is_the_same_duration(milliseconds: int) -> None:
    assert to_milliseconds(in_words(milliseconds)) == milliseconds
