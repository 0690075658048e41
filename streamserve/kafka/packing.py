"""A column of times as a short text: each takes as many bits as the span of all of them needs."""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence

__all__ = ["pack", "packed_size", "unpack"]

_ENDLESS = 1 << 62
"""Stands for no time but for a channel that is idle."""

_NONE, _IDLE, _FIRST = range(3)
"""Codes; those from ``_FIRST`` on are times, less the earliest."""


def pack(times: Sequence[int | None]) -> str:
    """Return ``times`` as text: how many there are, bits for each, the earliest, and the bits in base 64.

    >>> pack([1_700_000_000_000, None, 1_700_000_000_999])
    '3 10 1700000000000 ACAD6Q=='
    >>> unpack(pack([-5, None, 1 << 62]))
    (-5, None, 4611686018427387904)
    >>> unpack(pack([]))
    ()
    """
    low = min((time for time in times if time is not None and time != _ENDLESS), default=0)
    codes = [_NONE if time is None else _IDLE if time == _ENDLESS else time - low + _FIRST for time in times]
    width = max([1, *map(int.bit_length, codes)])
    bits = "".join([f"{code:0{width}b}" for code in codes])
    data = int(f"0{bits}", 2).to_bytes((len(bits) + 7) // 8)
    return f"{len(codes)} {width} {low} {b64encode(data).decode()}"


def unpack(text: str) -> tuple[int | None, ...]:
    """Return what ``pack`` was given.

    Raises:
        ValueError: it did not make ``text``.
    """
    numbers, data = text.rsplit(" ", 1)
    count, width, low = map(int, numbers.split(" "))
    bits = f"{int.from_bytes(b64decode(data, validate=True)):0{count * width}b}"
    codes = [int(bits[place : place + width], 2) for place in range(0, count * width, width)]
    return tuple(None if code == _NONE else _ENDLESS if code == _IDLE else code - _FIRST + low for code in codes)


def packed_size(length: int, *, spread: int) -> int:
    """Return how many times that are at most ``spread`` apart fit into ``length`` bytes of text."""
    head = len(pack([])) + 2 * len(str(_ENDLESS))
    data = (length - head) // 4 * 3
    return data * 8 // (spread + _FIRST).bit_length()
