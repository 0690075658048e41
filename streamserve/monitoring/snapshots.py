"""The state of a group's monitoring as bytes for a changelog, and back.

The outer form is MessagePack by a fixed schema with a format number; arrays are their raw bytes, little-endian. Each
detector is pickled by itself, so that one can be dropped without looking into it.

What changes between two runs is settled by one rule: *what was made under another configuration starts afresh, the
rest goes on*. ``GroupMonitor.discarded`` says what was dropped, for the log.
"""

from __future__ import annotations

import msgspec

from streamserve.errors import ConfigurationError

__all__ = [
    "FORMAT",
    "CategoryState",
    "DetectorState",
    "DetectorsState",
    "GroupState",
    "NumericState",
    "RowsState",
    "StatisticsState",
    "WindowState",
    "read_state",
    "unreadable",
    "write_state",
]

FORMAT = 1
"""The number of this encoding. State of another number is not read: the group starts afresh."""


class RowsState(msgspec.Struct, array_like=True, frozen=True):
    """Rows not yet counted."""

    times: bytes
    numbers: bytes
    texts: tuple[list[str | None], ...]


class NumericState(msgspec.Struct, array_like=True, frozen=True):
    """``NumericStatistics``; ``moments`` holds means, squares, minima and maxima one after the other."""

    rows: int
    counts: bytes
    moments: bytes
    histograms: tuple[bytes, ...]
    pending: bytes | None
    levels: dict[int, bytes]
    units: int


class CategoryState(msgspec.Struct, array_like=True, frozen=True):
    """``CategoryCounts``."""

    counts: dict[str, int]
    room: int
    other: int
    nulls: int


class StatisticsState(msgspec.Struct, array_like=True, frozen=True):
    """``WindowStatistics``."""

    numeric: NumericState
    categories: tuple[CategoryState, ...]


class WindowState(msgspec.Struct, array_like=True, frozen=True):
    """``Window``."""

    total: StatisticsState
    slices: dict[str, dict[str, StatisticsState]]
    alarms: dict[str, dict[str, int]]


class DetectorState(msgspec.Struct, array_like=True, frozen=True):
    """``RunningDetector`` with the configuration it was made under."""

    configuration: str
    alarms: int
    pickled: bytes


class DetectorsState(msgspec.Struct, array_like=True, frozen=True):
    """``ColumnDetectors``."""

    seen: int
    detectors: dict[str, DetectorState]


class GroupState(msgspec.Struct, frozen=True):
    """All of one model's monitoring in one partition group."""

    model: str
    version: str
    length_ms: int
    measures: str
    closed_through: int
    late: int
    ordinal: int
    windows: dict[int, WindowState]
    rows: RowsState | None
    detectors: dict[str, DetectorsState]
    messages: bytes


class _Envelope(msgspec.Struct, frozen=True):
    format: int
    state: msgspec.Raw


_ENCODER = msgspec.msgpack.Encoder()
_ENVELOPES = msgspec.msgpack.Decoder(_Envelope)
_STATES = msgspec.msgpack.Decoder(GroupState)


def write_state(state: GroupState) -> bytes:
    """Return ``state`` as bytes."""
    return _ENCODER.encode(_Envelope(FORMAT, msgspec.Raw(_ENCODER.encode(state))))


def read_state(data: bytes) -> GroupState | None:
    """Return the state in ``data``, ``None`` when it has another format number.

    Raises:
        ConfigurationError: the bytes are not what ``write_state`` makes.
    """
    try:
        envelope = _ENVELOPES.decode(data)
        return _STATES.decode(envelope.state) if envelope.format == FORMAT else None
    except msgspec.MsgspecError as error:
        raise unreadable() from error


def unreadable() -> ConfigurationError:
    """Return the error for state that is not what this app wrote."""
    return ConfigurationError(
        "monitoring state cannot be read: the changelog was damaged or is another app's. Reset it to start afresh."
    )
