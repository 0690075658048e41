"""Rows given as columns, to JSON, without an object of the user's for each row.

Where the output type is flat, every column is checked as a whole and the rows are encoded through a struct. A row with
a value that the check cannot vouch for goes through the user's own type instead: it is coerced, refused or written
differently there, as that type says. So bytes and refusals are those of building the objects, whatever the columns
hold.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from streamserve.codecs.base import RowEncoder, ValueCodec
from streamserve.codecs.columns import RowWriter
from streamserve.codecs.json import JsonCodec
from streamserve.errors import EncodeError, PlanError

__all__ = ["row_encoder"]


def row_encoder(codec: ValueCodec[Any]) -> RowEncoder:
    """Return the fastest sound encoder of rows for a codec's value type.

    >>> from pydantic import BaseModel
    >>> from streamserve.codecs.json import codec_for
    >>> class Delay(BaseModel):
    ...     flight_id: str
    ...     probability: float
    >>> row_encoder(codec_for(Delay)).encode_columns([["UA1"], [0.25]])
    [b'{"flight_id":"UA1","probability":0.25}']

    Raises:
        PlanError: the value type has no fields.
    """
    if not isinstance(codec, JsonCodec) or not codec.fields:
        raise PlanError(f"{codec.value_type!r} has no fields to fill by name: use a pydantic model or a struct")
    writer = codec.row_writer()
    return _ObjectRows(codec) if writer is None else _StructRows(codec, writer)


class _ObjectRows:
    """Builds the user's object for each row."""

    def __init__(self, codec: JsonCodec[Any]) -> None:
        self._codec = codec

    def encode_columns(self, columns: Sequence[Sequence[Any]]) -> list[bytes | EncodeError]:
        """Encode row by row; see ``RowEncoder``."""
        lists = _same_length(columns, len(self._codec.fields))
        return list(map(self._codec.encode_row, zip(*lists, strict=True)))


class _StructRows:
    """Encodes through a struct, and by the user's type where a value is not known to be valid."""

    def __init__(self, codec: JsonCodec[Any], writer: RowWriter) -> None:
        self._codec = codec
        self._writer = writer

    def encode_columns(self, columns: Sequence[Sequence[Any]]) -> list[bytes | EncodeError]:
        """Encode row by row; see ``RowEncoder``."""
        lists = _same_length(columns, len(self._codec.fields))
        return self._writer.write(lists, lambda index: self._codec.encode_row([column[index] for column in lists]))


def _same_length(columns: Sequence[Sequence[Any]], fields: int) -> list[Sequence[Any]]:
    """Return the columns as Python values, NumPy's turned into lists.

    Raises:
        ValueError: the columns are not one for each field, or differ in length: rows would be lost.
    """
    lists: list[Sequence[Any]] = [
        cast("Any", column).tolist() if hasattr(column, "tolist") else column for column in columns
    ]
    if len(lists) != fields or len(set(map(len, lists))) > 1:
        raise ValueError(f"{fields} columns of one length are needed, received {len(lists)}: {list(map(len, lists))}")
    return lists
