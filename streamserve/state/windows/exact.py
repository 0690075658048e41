"""Exact sums of numbers.

A double is an integer times a power of two, so a sum of doubles is one Python integer over one power of two: it is
exact, it does not depend on the order, and what was added can be taken away again without a trace. The result is
rounded once, because Python divides integers with correct rounding.
"""

from __future__ import annotations

from math import inf, ldexp

__all__ = ["ExactSum", "quotient"]

_GRAIN = 64
_SCALE = ldexp(1.0, _GRAIN)
_LARGEST_SCALE = 960


class ExactSum:
    """``count`` numbers whose sum is ``total / 2**bits`` and, where asked for, sum of squares ``squares / 4**bits``.

    ``integral`` tells that all were integers. ``scale`` is ``2.0**bits``, infinite where that overflows: then every
    float takes the slow way.
    """

    __slots__ = ("bits", "count", "integral", "scale", "squares", "total")

    def __init__(self) -> None:
        self.count = self.total = self.squares = 0
        self.bits = _GRAIN
        self.scale = _SCALE
        self.integral = True

    def refine(self, bits: int) -> None:
        """Make room for at least ``bits`` binary places."""
        if bits > self.bits:
            places = -(-bits // _GRAIN) * _GRAIN
            self.total <<= places - self.bits
            self.squares <<= 2 * (places - self.bits)
            self.bits = places
            self.scale = ldexp(1.0, places) if places <= _LARGEST_SCALE else inf

    def whole(self, value: float) -> int:
        """Return ``value * 2**bits``, after making room for its binary places."""
        if isinstance(value, int):
            return value << self.bits
        self.integral = False
        scaled = value * self.scale
        if scaled.is_integer():
            return int(scaled)
        numerator, denominator = value.as_integer_ratio()
        places = denominator.bit_length() - 1
        self.refine(places)
        return numerator << (self.bits - places)

    def absorb(self, other: ExactSum) -> None:
        """Add all numbers of ``other``."""
        self.refine(other.bits)
        shift = self.bits - other.bits
        self.count += other.count
        self.total += other.total << shift
        self.squares += other.squares << 2 * shift
        self.integral &= other.integral

    def remove(self, other: ExactSum) -> None:
        """Take away all numbers of ``other``, which were added before."""
        shift = self.bits - other.bits
        self.count -= other.count
        self.total -= other.total << shift
        self.squares -= other.squares << 2 * shift


def quotient(numerator: int, denominator: int) -> float:
    """Divide with correct rounding; infinite where the result is too large for a double.

    >>> quotient(1, 3)
    0.3333333333333333
    """
    try:
        return numerator / denominator
    except OverflowError:
        return inf if numerator > 0 else -inf
