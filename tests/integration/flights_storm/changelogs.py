"""Changelogs folded and taken apart, as their formats are documented; shares no code with the engine."""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec

from streamserve.testing.reading import iter_topic

__all__ = ["Folded", "Pane", "fold_plain", "fold_windows"]

Pane: TypeAlias = tuple[int, int, str]
"""Partition, start in milliseconds, key."""

_CLOCK = b"clock"
_START = struct.Struct(">q")


@dataclass(frozen=True, slots=True)
class Folded:
    """What a window's changelog comes to: the bytes of each pane that is left, and each partition's watermark."""

    panes: Mapping[Pane, bytes]
    watermarks: Mapping[int, int]


def fold_plain(brokers: str, topic: str) -> dict[tuple[int, bytes], bytes]:
    """Return the last value of each partition and key that is not deleted, without its format version."""
    last: dict[tuple[int, bytes], bytes | None] = {}
    for record in iter_topic(brokers, topic):
        last[record.partition, record.key or b""] = record.value
    return {place: _first_version(topic, value) for place, value in last.items() if value is not None}


def fold_windows(brokers: str, topic: str) -> Folded:
    """Return what the changelog of a window comes to: panes by eight bytes of start and the record key, and clocks."""
    last = fold_plain(brokers, topic)
    clocks: dict[int, Any] = {
        partition: msgspec.msgpack.decode(value) for (partition, key), value in last.items() if key == _CLOCK
    }
    panes = {_pane(*place): value for place, value in last.items() if place[1] != _CLOCK}
    return Folded(panes, {partition: clock[0] for partition, clock in clocks.items()})


def _pane(partition: int, key: bytes) -> Pane:
    return partition, _START.unpack_from(key)[0], key[_START.size :].decode()


def _first_version(topic: str, value: bytes) -> bytes:
    if value[0] != 1:
        raise AssertionError(f"{topic}: format version {value[0]}")
    return value[1:]
