from __future__ import annotations

import enum
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.codecs.keys import Key, KeyCodec
from streamserve.errors import DecodeError, EncodeError


class Origin(enum.StrEnum):
    NEWARK = "EWR"


class Size(enum.Enum):
    SMALL = 1


@given(st.text())
def test_text_keys_come_back_as_they_were(text: str) -> None:
    keys = KeyCodec[Any]("origin")
    assert keys.decode_key(keys.encode_key(SimpleNamespace(origin=text))) == text


@pytest.mark.parametrize(
    ("chosen", "key"), [("é", b"\xc3\xa9"), (7, b"7"), (b"\xff", b"\xff"), (None, None), ("", b"")]
)
def test_a_function_may_choose_text_integers_bytes_or_no_key(chosen: Key, key: bytes | None) -> None:
    keys = KeyCodec[object](lambda _: chosen)
    assert keys.encode_key(object()) == key
    assert keys.encode_keys([object()] * 2) == keys.encode_column([chosen] * 2) == [key] * 2


@pytest.mark.parametrize(
    ("held", "key"), [("EWR", b"EWR"), (Origin.NEWARK, b"EWR"), (Size.SMALL, b"1"), (1.5, b"1.5"), (None, None)]
)
def test_a_named_field_gives_its_text(held: object, key: bytes | None) -> None:
    keys = KeyCodec[Any]("origin")
    assert keys.encode_key(SimpleNamespace(origin=held)) == key
    assert keys.encode_keys([SimpleNamespace(origin="JFK"), SimpleNamespace(origin=held)]) == [b"JFK", key]


@given(st.lists(st.integers()))
def test_integers_are_written_in_decimal_digits_however_long(numbers: list[int]) -> None:
    assert KeyCodec[Any]("n").encode_column(numbers) == [str(number).encode() for number in numbers]


def test_without_a_selector_no_record_has_a_key() -> None:
    assert KeyCodec[object](None).encode_keys([object(), object()]) == [None, None]


def test_a_missing_field_is_named() -> None:
    with pytest.raises(EncodeError, match=r"key 'origin' of a SimpleNamespace: AttributeError"):
        KeyCodec[Any]("origin").encode_keys([SimpleNamespace(origin="JFK"), SimpleNamespace()])


def test_what_a_selector_says_when_it_raises_stays_out_of_the_error() -> None:
    def choose(_: object) -> str:
        raise ValueError("hunter2")

    with pytest.raises(EncodeError, match="key 'choose' of a object: ValueError") as raised:
        KeyCodec(choose).encode_key(object())
    assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize("chosen", [1.5, True, ["a"]])
def test_other_types_of_keys_are_refused(chosen: Any) -> None:
    with pytest.raises(EncodeError, match="return str, int, bytes or None"):
        KeyCodec[object](lambda _: chosen).encode_key(object())


def test_text_that_utf8_cannot_hold_is_refused() -> None:
    with pytest.raises(EncodeError, match="lone surrogate"):
        KeyCodec[Any]("origin").encode_keys([SimpleNamespace(origin="\ud800")])


def test_no_key_stays_no_key_and_bytes_that_are_not_text_are_refused() -> None:
    keys = KeyCodec[Any]("origin")
    assert keys.decode_key(None) is None
    with pytest.raises(DecodeError, match="not UTF-8 at byte 1"):
        keys.decode_key(b"a\xff")
