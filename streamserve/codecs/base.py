"""The port of a codec: bytes to values and back, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Generic, Protocol, TypeVar

from streamserve.errors import DecodeError, EncodeError

V = TypeVar("V")


class ValueCodec(Protocol, Generic[V]):
    """Decodes and encodes the values of one topic.

    ``value_type`` is the user's type; ``fields`` its field names with their annotations, in order.
    """

    value_type: type[V]
    fields: Mapping[str, Any]

    def decode_many(self, payloads: Sequence[bytes | None]) -> list[V | DecodeError]:
        """Decode each payload to an instance of ``value_type``, or to the error that it deserves.

        ``None`` (a tombstone) is a ``DecodeError``. The result has the length and order of ``payloads``.
        """
        ...

    def decode_fields(self, payloads: Sequence[bytes | None]) -> list[Any | DecodeError]:
        """Decode as ``decode_many`` does, to objects with the same attributes but not always of ``value_type``.

        For use where no user code sees the event; the fastest sound decoder is chosen. Acceptance and attribute
        values equal those of ``decode_many`` on every input.
        """
        ...

    def decode_one(self, payload: bytes) -> V:
        """Decode one payload as ``decode_many`` does.

        Raises:
            DecodeError: what ``decode_many`` would have returned.
        """
        ...

    def encode_one(self, value: V) -> bytes:
        """Encode one value as ``encode_many`` does.

        Raises:
            EncodeError: what ``encode_many`` would have returned.
        """
        ...

    def encode_many(self, values: Sequence[V]) -> list[bytes | EncodeError]:
        """Encode each value, or give the error that it deserves."""
        ...


class RowEncoder(Protocol):
    """Encodes rows given as columns, without building the user's objects where that is sound."""

    def encode_columns(self, columns: Sequence[Sequence[Any]]) -> list[bytes | EncodeError]:
        """Encode row by row; ``columns`` come in the order of the codec's ``fields`` and have equal lengths."""
        ...
