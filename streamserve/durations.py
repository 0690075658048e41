"""Durations as people write them: ``timedelta`` or ``"100ms"``, ``"15m"``, ``"1d"``."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import TypeAlias

Duration: TypeAlias = timedelta | str
"""A length of time: a ``timedelta``, or a number with one of the units ``ms s m h d``."""

_UNITS_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_PATTERN = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


def to_milliseconds(duration: Duration) -> int:
    """Return ``duration`` in whole milliseconds.

    >>> to_milliseconds("1.5s"), to_milliseconds("1h30m"), to_milliseconds(timedelta(minutes=1))
    (1500, 5400000, 60000)

    Raises:
        ValueError: the text is not a duration, or the duration is negative.
    """
    if isinstance(duration, timedelta):
        milliseconds = duration / timedelta(milliseconds=1)
    else:
        parts = _PATTERN.findall(duration)
        if not parts or "".join(number + unit for number, unit in parts) != duration:
            raise ValueError(f"{duration!r} is not a duration: write a timedelta, or for example '100ms', '15m', '1d'")
        milliseconds = sum(float(number) * _UNITS_MS[unit] for number, unit in parts)
    if milliseconds < 0:
        raise ValueError(f"a duration cannot be negative, but {duration!r} is")
    return round(milliseconds)


def in_words(milliseconds: int) -> str:
    """Return what ``to_milliseconds`` takes, in the largest units that make it whole.

    >>> in_words(3_600_000), in_words(5_400_000), in_words(250), in_words(0)
    ('1h', '1h30m', '250ms', '0ms')
    """
    parts: list[str] = []
    left = milliseconds
    for unit, length in reversed(_UNITS_MS.items()):
        count, left = divmod(left, length)
        parts += [f"{count}{unit}"] if count else []
    return "".join(parts) or "0ms"
