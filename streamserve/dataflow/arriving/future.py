"""Tells which events claim to be of the future, further ahead of their record's Kafka timestamp than allowed."""

from __future__ import annotations

from collections.abc import Sequence

from streamserve.dataflow.batch import column_of
from streamserve.records import RawRecord

_NOT_AVAILABLE = 0
"""The kind of a timestamp that a record has not got (Kafka's old message format)."""


def is_future(record: RawRecord, time_ms: int, max_future_ms: int | None) -> bool:
    """Return whether the event of ``record`` is too far ahead; no record without a Kafka timestamp is."""
    if max_future_ms is None:
        return False
    kind, timestamp_ms = record.timestamp()
    return kind != _NOT_AVAILABLE and time_ms - timestamp_ms > max_future_ms


def may_be_future(records: Sequence[RawRecord], times_ms: Sequence[int], max_future_ms: int | None) -> bool:
    """Return whether any of the events may be too far ahead: one look at all of them tells that mostly none is."""
    if max_future_ms is None or not records:
        return False
    earliest_ms = min(timestamp_ms for _, timestamp_ms in column_of(records, "timestamp"))
    return max(times_ms) - earliest_ms > max_future_ms
