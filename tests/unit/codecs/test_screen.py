from __future__ import annotations

import pytest

from streamserve.codecs.screen import Screen

TIMES = Screen(ignores_unknown=False, has_times=True)
UNKNOWN = Screen(ignores_unknown=True, has_times=False)


@pytest.mark.parametrize(
    "fine",
    [
        b'{"at":"2013-01-01T05:00:00.1234567Z"}',
        b'{"at":"2013-01-01 05:59:59,99999999"}',
        b'{"at":"2013-01-01T05:00:00.123456\\u0037Z"}',
        b'{"at":"2013-01-01T05:00\\u003a00.1234567Z"}',
    ],
)
def test_times_finer_than_a_microsecond_are_suspect(fine: bytes) -> None:
    assert TIMES.suspects([b"{}", fine, None, b'{"at":"2013-01-01T05:00:00.123456Z"}', fine]) == {1, 4}


@pytest.mark.parametrize("plain", [b'{"a":12.123456789}', b'{"at":"2013-01-01T05:00:00Z","a":[1,2.00000001]}'])
def test_numbers_with_many_decimals_are_not_taken_for_times(plain: bytes) -> None:
    assert TIMES.suspects([plain]) == set()


@pytest.mark.parametrize(
    "odd",
    [b'{"x":"\xff"}', b'{"x":' + b"[" * 200 + b"]" * 200 + b"}", b'{"x":' + b"1" * 4301 + b"}"],
    ids=["not UTF-8", "deep", "long"],
)
def test_ignored_fields_that_pydantic_might_refuse_are_suspect(odd: bytes) -> None:
    assert UNKNOWN.suspects([b"{}", odd, None, '{"x":"é"}'.encode(), b'{"x":"' + b"a" * 600 + b'"}']) == {1}
    assert TIMES.suspects([odd]) == set()


def test_a_batch_of_tombstones_or_of_nothing_has_no_suspects() -> None:
    both = Screen(ignores_unknown=True, has_times=True)
    assert both.suspects([None, None]) == both.suspects([]) == set()
