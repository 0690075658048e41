"""What rows that were regrouped carry: the partition that they come from, and between them how far that one has come.

Rows of a regrouped topic come from several partitions, each in order by itself, none in step with the others. Without
more knowledge a reader could not tell a slow partition from an empty one. So each record names its partition in a
header, its *channel*, and each commit writes a *marker* to every target partition: the watermark of the channel.
"""

from __future__ import annotations

from typing import NamedTuple

from streamserve.records import Emission, Headers, RawRecord

IDLE_MS = 1 << 62
"""The time of a channel that says that nothing is to be expected of it for now."""

_FROM = "streamserve-from"
_WATERMARK = "streamserve-watermark"


class Marker(NamedTuple):
    """Stands in the place of a marker's value: its channel has come to the row's time."""

    channel: int


def headers_from(partition: int, own: Headers = ()) -> tuple[tuple[str, bytes | None], ...]:
    """Return the headers of a record that comes from ``partition``."""
    return ((_FROM, b"%d" % partition), *(header for header in own if header[0] != _FROM))


def channel_of(record: RawRecord) -> int:
    """Return the partition that a regrouped record comes from."""
    return _number(record, _FROM) or 0


def marker_of(topic: str, target: int, channel: int, watermark_ms: int) -> Emission:
    """Return the message that tells partition ``target`` of ``topic`` how far ``channel`` has come."""
    headers = ((_FROM, b"%d" % channel), (_WATERMARK, b"%d" % watermark_ms))
    return Emission(topic, None, None, headers, partition=target)


def read_marker(record: RawRecord) -> tuple[Marker, int] | None:
    """Return the marker that ``record`` is, and its watermark in milliseconds, or ``None``.

    >>> from types import SimpleNamespace
    >>> message = marker_of("t", 0, 3, 1_000)
    >>> read_marker(SimpleNamespace(value=lambda: None, headers=lambda: list(message.headers)))
    (Marker(channel=3), 1000)
    """
    if record.value() is not None:
        return None
    watermark = _number(record, _WATERMARK)
    return None if watermark is None else (Marker(channel_of(record)), watermark)


def _number(record: RawRecord, name: str) -> int | None:
    found = next((value for header, value in record.headers() or () if header == name), None)
    return None if found is None else int(found)
