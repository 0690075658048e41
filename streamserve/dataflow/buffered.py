"""Rows that wait for partners: as the join's changelog keeps them, and as they come out again.

A row is one MessagePack array: offset, kind of timestamp, timestamp in milliseconds, payload, headers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import msgspec

from streamserve.dataflow.batch import column_of
from streamserve.records import RawRecord

__all__ = ["UNREAD", "Buffered", "BufferedRecord", "buffered", "payload_of"]

UNREAD: Any = object()
"""Stands in the place of a value that has not been decoded since the restore."""


class Buffered(bytes):
    """The bytes of a row; ``value`` is its event, for as long as the row is in memory."""

    value: Any = UNREAD


class _Fields(NamedTuple):
    """What the bytes of a row hold."""

    offset: int
    timestamp_kind: int
    timestamp_ms: int
    payload: bytes | None
    headers: list[tuple[str, bytes | None]]


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(_Fields).decode


def buffered(records: Sequence[RawRecord], values: Sequence[Any]) -> list[Buffered]:
    """Return ``records``, whose events are ``values``, as rows to keep.

    >>> rows = buffered([BufferedRecord("clicks", 0, b"k", _encode((7, 1, 1_000, b"{}", [])))], [{}])
    >>> record = BufferedRecord("clicks", 0, b"k", rows[0])
    >>> rows[0].value, record.offset(), record.timestamp(), record.value(), record.headers()
    ({}, 7, (1, 1000), b'{}', [])
    """
    columns = (column_of(records, getter) for getter in ("offset", "timestamp", "value", "headers"))
    return [
        _with_value(_encode((offset, *timestamp, payload, headers or ())), value)
        for offset, timestamp, payload, headers, value in zip(*columns, values, strict=True)
    ]


def _with_value(content: bytes, value: Any) -> Buffered:
    row = Buffered(content)
    row.value = value
    return row


def payload_of(row: bytes) -> bytes | None:
    """Return the record's payload, as its topic's codec takes it."""
    return _decode(row).payload


class BufferedRecord:
    """A record as it was when its row was kept; a ``RawRecord``."""

    __slots__ = ("_fields", "_key", "_partition", "_topic")

    def __init__(self, topic: str, partition: int, key: bytes | None, row: bytes) -> None:
        self._topic = topic
        self._partition = partition
        self._key = key
        self._fields = _decode(row)

    def value(self) -> bytes | None:
        """Return the payload."""
        return self._fields.payload

    def key(self) -> bytes | None:
        """Return the key."""
        return self._key

    def topic(self) -> str | None:
        """Return the topic's name."""
        return self._topic

    def partition(self) -> int | None:
        """Return the partition's number."""
        return self._partition

    def offset(self) -> int | None:
        """Return the record's offset."""
        return self._fields.offset

    def timestamp(self) -> tuple[int, int]:
        """Return the kind of timestamp and milliseconds since the epoch."""
        return self._fields.timestamp_kind, self._fields.timestamp_ms

    def headers(self) -> list[tuple[str, bytes | None]] | None:
        """Return the headers in order."""
        return self._fields.headers
