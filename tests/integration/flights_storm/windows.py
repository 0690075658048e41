"""Windows: what they must have written and what their changelogs must hold, from the columns of the year."""

from __future__ import annotations

import struct
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, TypeAlias

import msgspec
import numpy as np

from streamserve.testing.reading import iter_topic
from tests.integration.flights_storm.changelogs import Folded, Pane, fold_windows
from tests.integration.flights_storm.findings import Finding, compare
from tests.integration.flights_storm.partitions import partition_of
from topologies.flights.activity import GAP_MINUTES
from topologies.flights.rolling import SIZE_MINUTES, STEP_MINUTES
from topologies.flights.source import Strings
from topologies.flights.truth import Windows, aircraft_sessions, departed_by, departure_hours
from topologies.flights.year import Flights, joined

__all__ = ["Watermarks", "judge_activity", "judge_rolling"]

Watermarks: TypeAlias = Mapping[int, int]
"""How far event time has come, in milliseconds, by partition."""

_MINUTE_MS = 60_000
_LAST = struct.Struct(">q")
_HOUR = 60
_DIVIDED = "\x1f"
"""Stands between a record's key and what divides it further."""


def judge_activity(
    brokers: str, year: Flights, count: int, hourly: Watermarks, rotations: Watermarks
) -> Iterator[Finding]:
    """Judge hourly counts and aircraft sessions: what was closed at the watermarks, and what is open in changelogs."""
    some = year.take(np.arange(count))
    hours = departure_hours(_departed(year, count))
    sessions = aircraft_sessions(some, GAP_MINUTES)
    yield from _judge(brokers, "hourly counts", "departure-hours", "origin", hours, hourly)
    yield from _judge_panes(brokers, "activity-hourly-changelog", _open_hours(hours, hourly), _count, hourly)
    yield from _judge(brokers, "aircraft sessions", "aircraft-sessions", "tailnum", sessions, rotations)
    open_now = _open_sessions(sessions, rotations)
    yield from _judge_panes(brokers, "activity-rotations-changelog", open_now, _session, rotations)


def judge_rolling(brokers: str, year: Flights, count: int, watermarks: Watermarks) -> Iterator[Finding]:
    """Judge the changelogs of the rolling delays; what flights saw of them stands in their feature rows."""
    departed = _departed(year, count)
    keys = {"origin_delay": departed.origin, "carrier_delay": joined(_DIVIDED, departed.origin, departed.carrier)}
    for name, column in keys.items():
        topic = f"flights-{name}-changelog"
        folded = fold_windows(brokers, topic)
        expected = _needed(_delays(departed, column), watermarks, folded)
        yield compare(f"fold of {topic}", expected, {pane: _sum(value) for pane, value in folded.panes.items()})
        yield compare(f"clocks of {topic}", watermarks, folded.watermarks)


def _departed(year: Flights, count: int) -> Flights:
    """Return the flights with the departures that went in: all of the year's, or those up to the last flight."""
    return year if count == len(year) else departed_by(year, int(year.at[count - 1]))


def _judge(
    brokers: str, what: str, topic: str, key: str, windows: Windows, watermarks: Watermarks
) -> Iterator[Finding]:
    """Judge what was written: each window that has ended, once, and none that is open."""
    expected = {
        (*window, value): 1 for window, value in windows.items() if _has_ended(window[0], window[2], watermarks)
    }
    found = Counter(_window(msgspec.json.decode(record.value or b""), key) for record in iter_topic(brokers, topic))
    yield compare(what, expected, found)


def _window(value: Mapping[str, Any], key: str) -> tuple[str, int, int, int]:
    return value[key], _minute(value["start"]), _minute(value["end"]), value["value"]


def _minute(instant: str) -> int:
    return int(datetime.fromisoformat(instant).timestamp()) // 60


def _has_ended(key: str, end: int, watermarks: Watermarks) -> bool:
    return end * _MINUTE_MS <= watermarks.get(partition_of(key), -(1 << 62))


def _judge_panes(
    brokers: str,
    topic: str,
    expected: Mapping[Pane, object],
    decode: Callable[[bytes], object],
    watermarks: Watermarks,
) -> Iterator[Finding]:
    folded = fold_windows(brokers, topic)
    yield compare(f"fold of {topic}", expected, {pane: decode(value) for pane, value in folded.panes.items()})
    yield compare(f"clocks of {topic}", watermarks, folded.watermarks)


def _open_hours(hours: Windows, watermarks: Watermarks) -> dict[Pane, int]:
    return {
        (partition_of(origin), start * _MINUTE_MS, origin): count
        for (origin, start, end), count in hours.items()
        if not _has_ended(origin, end, watermarks)
    }


def _open_sessions(sessions: Windows, watermarks: Watermarks) -> dict[Pane, tuple[int, int]]:
    """Return the time of the last event and the count of each session that is open."""
    return {
        (partition_of(tail), start * _MINUTE_MS, tail): ((end - GAP_MINUTES) * _MINUTE_MS, count)
        for (tail, start, end), count in sessions.items()
        if not _has_ended(tail, end, watermarks)
    }


def _delays(flights: Flights, keys: Strings) -> dict[tuple[str, int], tuple[int, int]]:
    """Return number and sum of the delays that fall into each step of each key."""
    left = np.flatnonzero(~np.isnan(flights.departure_delay))
    steps = flights.departed[left].astype(np.int64) // STEP_MINUTES * STEP_MINUTES
    found: dict[tuple[str, int], tuple[int, int]] = {}
    rows = zip(
        keys[left].tolist(), steps.tolist(), flights.departure_delay[left].astype(np.int64).tolist(), strict=True
    )
    for key, step, delay in rows:
        number, total = found.get((key, step), (0, 0))
        found[key, step] = number + 1, total + delay
    return found


def _needed(
    delays: Mapping[tuple[str, int], tuple[int, int]], watermarks: Watermarks, folded: Folded
) -> dict[Pane, tuple[int, int]]:
    """Return the panes that later events may see, and of those just before them the ones that are there still.

    Panes are dropped some time after they matter, at the latest a step after, or a sixteenth of the window's size.
    """
    slack = max(STEP_MINUTES, SIZE_MINUTES // 16) * _MINUTE_MS
    needed: dict[Pane, tuple[int, int]] = {}
    for (key, step), value in delays.items():
        partition = partition_of(key.partition(_DIVIDED)[0])
        start, oldest = step * _MINUTE_MS, watermarks[partition] - SIZE_MINUTES * _MINUTE_MS + 1
        pane = partition, start, key
        if start >= oldest or (start >= oldest - slack and pane in folded.panes):
            needed[pane] = value
    return needed


def _count(value: bytes) -> int:
    (count,) = msgspec.msgpack.decode(value)
    return count


def _session(value: bytes) -> tuple[int, int]:
    return _LAST.unpack_from(value)[0], _count(value[_LAST.size :])


def _sum(value: bytes) -> tuple[int, int]:
    """Return number and total of an exact sum: its bits behind the point are none, since delays are whole."""
    number, bits, total, _ = msgspec.msgpack.decode(value, type=tuple[int, int, bytes, bytes])
    if bits:
        raise AssertionError(f"a sum of whole numbers has {bits} bits behind the point")
    return number, int.from_bytes(total, "little", signed=True)
