"""Record keys: chosen from a value, and to bytes and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from enum import Enum
from operator import attrgetter
from typing import Any, Generic, TypeAlias, TypeVar, cast

import msgspec

from streamserve.errors import DecodeError, EncodeError

__all__ = ["Key", "KeyCodec"]

Key: TypeAlias = str | int | bytes | None
"""What a key selector may give; ``None`` is a record without a key, which any partition may take."""

V = TypeVar("V")

_DIGITS = msgspec.json.Encoder().encode
"""An integer in JSON is its decimal digits, and made three times as fast as by formatting it."""


class KeyCodec(Generic[V]):
    """Chooses and encodes the keys of one topic.

    ``key`` names a field of the value, whose text becomes the key, or is a function of the value that returns a
    ``str``, an ``int`` or ``bytes``. Text is UTF-8 and an integer its decimal digits, so that clients of any language
    agree on the partition; ``bytes`` go as they are and an enum's member as its value. Without ``key`` no record has
    one.

    >>> from types import SimpleNamespace
    >>> flights = KeyCodec("origin")
    >>> flights.encode_key(SimpleNamespace(origin="EWR")), flights.decode_key(b"EWR")
    (b'EWR', 'EWR')
    >>> flights.encode_keys([SimpleNamespace(origin="JFK"), SimpleNamespace(origin=None)])
    [b'JFK', None]
    """

    def __init__(self, key: str | Callable[[V], Key] | None) -> None:
        self._named = isinstance(key, str)
        self._name = key if isinstance(key, str) else getattr(key, "__name__", "key")
        self._select: Callable[[V], Any] = attrgetter(key) if isinstance(key, str) else key or _no_key

    def encode_key(self, value: V) -> bytes | None:
        """Return the key of ``value``.

        Raises:
            EncodeError: the value has no such field, the selector raised, or what it gave cannot be a key.
        """
        try:
            key = self._select(value)
        except Exception as error:
            raise EncodeError(
                f"key {self._name!r} of a {type(value).__name__}: {type(error).__name__}. "
                "Name a field that every value has, or let the function return None."
            ) from None  # a selector's own words may quote the value
        return self._encode(key)

    def encode_keys(self, values: Sequence[V]) -> list[bytes | None]:
        """Return the key of each value, in order.

        Raises:
            EncodeError: as in ``encode_key``, for the first value at fault.
        """
        try:
            keys = list(map(self._select, values))
        except Exception:  # once more, one by one, to name the fault
            return [self.encode_key(value) for value in values]
        return self.encode_column(keys)

    def encode_column(self, keys: Sequence[Key]) -> list[bytes | None]:
        """Return the bytes of keys that were chosen already, for instance the key field's column.

        Raises:
            EncodeError: a key is neither text, nor a number, nor bytes.
        """
        kinds = set(map(type, keys))
        if kinds == {int}:
            with suppress(OverflowError):  # beyond 64 bits
                return list(map(_DIGITS, cast("Sequence[int]", keys)))
        if kinds == {str}:
            with suppress(UnicodeEncodeError):
                return list(map(str.encode, cast("Sequence[str]", keys)))
        return [self._encode(key) for key in keys]

    def decode_key(self, key: bytes | None) -> str | None:
        """Return the text of a record's key; ``None`` stays ``None``.

        Raises:
            DecodeError: the key is not UTF-8.
        """
        if key is None:
            return None
        try:
            return key.decode()
        except UnicodeDecodeError as error:
            raise DecodeError(
                f"the record's key is not UTF-8 at byte {error.start}: read the topic without key="
            ) from None

    def _encode(self, key: object) -> bytes | None:
        if isinstance(key, Enum):
            key = key.value
        if key is None or isinstance(key, bytes):
            return key
        if self._named or isinstance(key, str) or type(key) is int:
            try:
                return str(key).encode()
            except UnicodeEncodeError:
                raise EncodeError(f"key {self._name!r} holds text that UTF-8 cannot: a lone surrogate") from None
        raise EncodeError(
            f"key {self._name!r} is a {type(key).__name__}: let the function return str, int, bytes or None"
        )


def _no_key(_: object) -> None:
    return None
