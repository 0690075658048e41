from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.errors import ConfigurationError
from streamserve.state.format import (
    PROCESSING_TIMER,
    TIMER,
    check_versions,
    is_value_key,
    pack_head,
    to_record_key,
    to_user_key,
    unpack_stamp,
)

keys = st.one_of(st.binary(max_size=4), st.binary(max_size=3).map(lambda rest: b"\x00" + rest))


@given(keys)
def test_a_record_key_leads_back_to_the_users_key(key: bytes) -> None:
    assert to_user_key(to_record_key(key)) == key
    assert to_user_key(TIMER + key) == to_user_key(PROCESSING_TIMER + key) == key
    assert is_value_key(to_record_key(key))
    assert not is_value_key(TIMER + key)
    assert not is_value_key(PROCESSING_TIMER + key)


@given(keys, keys)
def test_no_two_users_keys_share_a_record_key_and_timers_share_none(first: bytes, second: bytes) -> None:
    assert (to_record_key(first) == to_record_key(second)) == (first == second)
    assert to_record_key(first) not in (TIMER + second, PROCESSING_TIMER + second)
    assert TIMER + first != PROCESSING_TIMER + second


@given(st.lists(keys))
def test_record_keys_sort_as_the_users_keys_do(several: list[bytes]) -> None:
    assert sorted(several, key=to_record_key) == sorted(several)


@given(st.integers(-(2**63), 2**63 - 1), st.binary())
def test_a_stamp_survives_in_the_head(stamp_ms: int, payload: bytes) -> None:
    assert unpack_stamp(pack_head(stamp_ms) + payload) == stamp_ms


def test_tombstones_and_the_current_version_pass() -> None:
    check_versions("fares", [None, pack_head(0), None])


@pytest.mark.parametrize(("value", "found"), [(b"\x02abc", "format version 2"), (b"", "no format version")])
def test_another_version_is_refused_with_table_version_and_remedy(value: bytes, found: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"'fares'.*{found}.*delete the changelog topic"):
        check_versions("fares", [pack_head(0), value])
