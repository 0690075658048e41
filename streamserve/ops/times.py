"""Times as people and programs read them."""

from __future__ import annotations

from streamserve.records import to_datetime

__all__ = ["iso"]


def iso(epoch_ms: int) -> str:
    """Return milliseconds since the epoch as ISO 8601, in UTC.

    >>> iso(0)
    '1970-01-01T00:00:00.000Z'
    """
    return to_datetime(epoch_ms).isoformat(timespec="milliseconds").replace("+00:00", "Z")
