from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.errors import ConfigurationError
from streamserve.kafka.marks import OffsetMark

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


@given(st.none() | st.text())
def test_metadata_of_others_is_no_mark(text: str | None) -> None:
    assert OffsetMark.decode(text) is None


def test_a_mark_of_another_format_is_refused_by_name() -> None:
    with pytest.raises(ConfigurationError, match="metadata of format 99, but this release reads"):
        OffsetMark.decode(OffsetMark("w0", 1, 2, format=99).encode())
