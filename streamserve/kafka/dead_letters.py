"""What a dead letter looks like: the record's key and bytes untouched, and headers that say why and where from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from streamserve.errors import RecordError
from streamserve.records import Emission, RawRecord

ORIGINAL_PREFIX: Final = "original-"
"""Stands before the names of the record's own headers."""


def dead_letter(topic: str, step: str, record: RawRecord, error: RecordError) -> Emission:
    """Return the dead letter of ``record``, which ``step`` refused with ``error``.

    Headers (UTF-8 text): ``step``, ``reason`` (a fixed word), ``error`` (the class), ``message``, ``source-topic``,
    ``source-partition``, ``source-offset``, ``source-timestamp`` (milliseconds since the epoch); then the record's own.
    The message names fields and rules, never values.
    """
    facts = {
        **_why(step, error),
        "source-topic": record.topic(),
        "source-partition": record.partition(),
        "source-offset": record.offset(),
        "source-timestamp": record.timestamp()[1],
    }
    own = [(f"{ORIGINAL_PREFIX}{name}", value) for name, value in record.headers() or []]
    return Emission(topic, record.value(), record.key(), (*_encoded(facts), *own))


def lost_result(topic: str, window: str, key: bytes, start_ms: int, end_ms: int, error: RecordError) -> Emission:
    """Return the dead letter of a result of ``window``, for ``key`` and ``[start_ms, end_ms)``, that met ``error``.

    No record stands behind it: it has the window's key and no value, and in the place of a source the headers
    ``window``, ``window-start`` and ``window-end`` (milliseconds since the epoch).
    """
    facts = {**_why(window, error), "window": window, "window-start": start_ms, "window-end": end_ms}
    return Emission(topic, None, key, tuple(_encoded(facts)))


def failed_timer(
    topic: str, step: str, table: str, partition: int, key: bytes, clock: str, at_ms: int, error: RecordError
) -> Emission:
    """Return the dead letter of ``step``, the timer of ``table`` that met ``error`` for ``key``.

    No record stands behind it: it has the table's key and no value, and in the place of a source the headers
    ``table``, ``table-partition``, ``timer-clock`` and ``timer-time`` (when it was due by that clock, milliseconds
    since the epoch).
    """
    place = {"table": table, "table-partition": partition, "timer-clock": clock, "timer-time": at_ms}
    return Emission(topic, None, key, tuple(_encoded({**_why(step, error), **place})))


def _why(step: str, error: RecordError) -> dict[str, object]:
    cause = error.__cause__
    return {
        "step": step,
        "reason": error.reason,
        "error": type(cause).__name__ if cause is not None else type(error).__name__,
        "message": str(error),
    }


def _encoded(facts: Mapping[str, object]) -> list[tuple[str, bytes]]:
    return [(name, str(fact).encode()) for name, fact in facts.items()]


def forwarded(record: RawRecord, topic: str) -> Emission:
    """Return ``record`` as it is, for ``topic``: key, bytes, headers and timestamp."""
    headers = tuple(record.headers() or ())
    return Emission(topic, record.value(), record.key(), headers, timestamp_ms=record.timestamp()[1])
