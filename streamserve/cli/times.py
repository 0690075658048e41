"""Times on the command line."""

from __future__ import annotations

from contextlib import suppress
from datetime import UTC, datetime, timedelta

import typer

__all__ = ["instant"]


def instant(text: str, *, hint: str) -> datetime:
    """Return the time that ``text`` means: ISO 8601, UTC where it names no zone, or so long ago.

    >>> instant("2026-01-31T12:00", hint="--since")
    datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.timezone.utc)

    Raises:
        typer.BadParameter: it means none.
    """
    from streamserve.durations import to_milliseconds

    with suppress(ValueError):
        return datetime.now(UTC) - timedelta(milliseconds=to_milliseconds(text))
    with suppress(ValueError):
        told = datetime.fromisoformat(text)
        return told if told.tzinfo is not None else told.replace(tzinfo=UTC)
    raise typer.BadParameter(
        f"{text!r} is no time: write 2026-01-31T12:00 (UTC), or 15m for so long ago", param_hint=hint
    )
