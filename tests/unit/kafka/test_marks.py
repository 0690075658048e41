from __future__ import annotations

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.errors import ConfigurationError
from streamserve.kafka.marks import METADATA_BYTES, Limits, OffsetMark, Progress, most_channels

INSTANCES = st.text("abcdefghijklmnopqrstuvwxyzABC0123456789._-", min_size=1, max_size=120)
OPTIONAL_LONGS = st.none() | st.integers(-(2**63), 2**63 - 1)


@given(INSTANCES, OPTIONAL_LONGS, OPTIONAL_LONGS)
def test_a_mark_comes_back_as_it_was_and_fits_into_the_broker_s_limit(
    instance: str, watermark_ms: int | None, state_offset: int | None
) -> None:
    mark = OffsetMark(instance, watermark_ms, state_offset)
    text = mark.encode()
    assert OffsetMark.decode(text) == mark
    assert len(text.encode()) < 250


TIMES = st.lists(st.none() | st.just(1 << 62) | st.integers(-(2**62) + 1, 2**62 - 1), max_size=50)


@given(TIMES, st.integers(0, 2**62), st.none() | st.integers(0, 2**62))
def test_progress_comes_back_as_it_was(newest: list[int | None], late_ms: int, future_ms: int | None) -> None:
    rules = ((7, Limits(late_ms, future_ms)), (9, Limits()))
    progress = Progress(5, tuple(newest), 11, (-3, 8), -5, rules)
    mark = OffsetMark.decode(OffsetMark.of("w0", 1, None, progress).encode())
    assert mark is not None
    assert mark.progress(5) == progress


@given(st.integers(0, 2**60), st.randoms(use_true_random=False), INSTANCES)
def test_as_many_channels_fit_as_are_promised_while_they_are_within_a_day(
    low: int, chance: Random, instance: str
) -> None:
    count = most_channels(instance)
    assert count > 780
    far = 2**62
    newest = tuple(low + chance.randrange(24 * 3_600_000 + 1) for _ in range(count))
    progress = Progress(far, newest, far, (far, far), -far, ((far, Limits(far, far)), (far, Limits(far, far))))
    assert len(OffsetMark.of(instance, -far, far, progress).encode().encode()) < METADATA_BYTES


@given(st.none() | st.text())
def test_metadata_of_others_is_no_mark(text: str | None) -> None:
    assert OffsetMark.decode(text) is None


@pytest.mark.parametrize("cut", ['["w0",1,2,5]', '["w0",1,2,5,"1 2",3,null,null,[]]', '["w0",1,2,5,[],3,null,null,[]]'])
def test_a_mark_that_is_not_whole_is_no_mark(cut: str) -> None:
    assert OffsetMark.decode(cut) is None


def test_a_mark_of_the_format_before_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="metadata of format 4, but this release reads 5"):
        OffsetMark.decode('["w0",1,2,4,[17],8,[3,4],5,[[6,7]]]')


def test_a_mark_of_another_format_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="metadata of format 99, but this release reads"):
        OffsetMark.decode(OffsetMark("w0", 1, 2, format=99).encode())
