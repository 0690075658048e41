"""How aggregates are computed: what an accumulator is, and the accumulators of numbers."""

from __future__ import annotations

import math
import sys
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Generic, TypeVar

import msgspec
from typing_extensions import override

from streamserve.state.windows.exact import ExactSum, quotient

__all__ = ["Accumulator", "Count", "Mean", "Quantile", "Sum", "Variance"]

S = TypeVar("S")
A = TypeVar("A")


class Accumulator(ABC, Generic[S, A]):
    """The work of one aggregate over states of type ``S``, which are changed in place.

    Values come in without ``None``, as ``columns.Column`` leaves them.
    """

    invertible: ClassVar[bool] = False
    """Whether ``remove`` takes away exactly what ``absorb`` added."""

    fallible: ClassVar[bool] = False
    """Whether any method may raise a ``RecordError``; a state that ``add`` or ``absorb`` then leaves is as it was."""

    @abstractmethod
    def new(self) -> S:
        """Return the state over nothing."""

    @abstractmethod
    def add(self, state: S, value: Any, time_ms: int) -> None:
        """Count one value at its event time."""

    def add_both(self, part: S, whole: S, value: Any, time_ms: int) -> None:
        """Count one value in two states, of which ``whole`` holds all that ``part`` does."""
        self.add(part, value, time_ms)
        self.add(whole, value, time_ms)

    @abstractmethod
    def absorb(self, state: S, other: S) -> None:
        """Add to ``state`` all that ``other`` holds, which stays as it is; of equal times ``other`` is the later."""

    def remove(self, state: S, other: S) -> None:
        """Take away what was added by the values of ``other``; only where ``invertible``."""
        raise NotImplementedError

    def copy(self, state: S) -> S:
        """Return the state as it is now, untouched by later changes; only where ``fallible``."""
        raise NotImplementedError

    def merge(self, earlier: S, later: S) -> S:
        """Return the state over both, which do not change; it may be one of them, so it is not to be changed."""
        merged = self.new()
        self.absorb(merged, earlier)
        self.absorb(merged, later)
        return merged

    @abstractmethod
    def result(self, state: S) -> A:
        """Return the aggregate."""

    def nothing(self) -> A | None:
        """Return the aggregate over nothing."""
        return self.result(self.new())

    @abstractmethod
    def encode(self, state: S) -> bytes:
        """Write the state as msgpack."""

    @abstractmethod
    def decode(self, data: bytes) -> S:
        """Read what ``encode`` wrote."""


_pack = msgspec.msgpack.Encoder().encode


class Count(Accumulator[list[int], int]):
    """The number of events."""

    invertible = True
    _decoder = msgspec.msgpack.Decoder(list[int])

    @override
    def new(self) -> list[int]:
        return [0]

    @override
    def add(self, state: list[int], value: Any, time_ms: int) -> None:
        state[0] += 1

    @override
    def add_both(self, part: list[int], whole: list[int], value: Any, time_ms: int) -> None:
        part[0] += 1
        whole[0] += 1

    @override
    def absorb(self, state: list[int], other: list[int]) -> None:
        state[0] += other[0]

    @override
    def remove(self, state: list[int], other: list[int]) -> None:
        state[0] -= other[0]

    @override
    def result(self, state: list[int]) -> int:
        return state[0]

    @override
    def encode(self, state: list[int]) -> bytes:
        return _pack(state)

    @override
    def decode(self, data: bytes) -> list[int]:
        return self._decoder.decode(data)


class _Exact(Accumulator[ExactSum, float | None]):
    invertible = True
    _decoder = msgspec.msgpack.Decoder(tuple[int, int, bytes, bytes])

    @override
    def new(self) -> ExactSum:
        return ExactSum()

    @override
    def add(self, state: ExactSum, value: float, time_ms: int) -> None:
        state.count += 1
        if type(value) is float:
            scaled = value * state.scale
            if scaled.is_integer():  # what `whole` does, without a call
                state.integral = False
                state.total += int(scaled)
                return
        whole = state.whole(value)  # first, because it may rescale the total
        state.total += whole

    @override
    def add_both(self, part: ExactSum, whole: ExactSum, value: float, time_ms: int) -> None:
        if type(value) is float and part.bits == whole.bits:
            scaled = value * part.scale
            if scaled.is_integer():
                addend = int(scaled)
                part.count += 1
                whole.count += 1
                part.integral = whole.integral = False
                part.total += addend
                whole.total += addend
                return
        super().add_both(part, whole, value, time_ms)

    @override
    def absorb(self, state: ExactSum, other: ExactSum) -> None:
        state.absorb(other)

    @override
    def remove(self, state: ExactSum, other: ExactSum) -> None:
        state.remove(other)

    @override
    def encode(self, state: ExactSum) -> bytes:
        bits = 0 if state.integral else state.bits
        shift = state.bits - bits
        return _pack((state.count, bits, _to_bytes(state.total >> shift), _to_bytes(state.squares >> 2 * shift)))

    @override
    def decode(self, data: bytes) -> ExactSum:
        count, bits, total, squares = self._decoder.decode(data)
        state = ExactSum()
        state.refine(bits)
        state.count, state.integral = count, not bits
        shift = state.bits - bits
        state.total = int.from_bytes(total, "little", signed=True) << shift
        state.squares = int.from_bytes(squares, "little", signed=True) << 2 * shift
        return state


def _to_bytes(number: int) -> bytes:
    return number.to_bytes(number.bit_length() // 8 + 1, "little", signed=True) if number else b""


class Sum(_Exact):
    """The sum: an integer while all values are."""

    @override
    def result(self, state: ExactSum) -> float | None:
        if not state.count:
            return None
        return state.total >> state.bits if state.integral else quotient(state.total, 1 << state.bits)


class Mean(_Exact):
    """The arithmetic mean."""

    @override
    def result(self, state: ExactSum) -> float | None:
        return quotient(state.total, state.count << state.bits) if state.count else None


class Variance(_Exact):
    """The sample variance."""

    @override
    def add(self, state: ExactSum, value: float, time_ms: int) -> None:
        state.count += 1
        whole = state.whole(value)
        state.total += whole
        state.squares += whole * whole

    @override
    def add_both(self, part: ExactSum, whole: ExactSum, value: float, time_ms: int) -> None:
        self.add(part, value, time_ms)
        self.add(whole, value, time_ms)

    @override
    def result(self, state: ExactSum) -> float | None:
        n = state.count
        if n < 2:  # noqa: PLR2004 - a sample variance needs two values
            return None
        return quotient(n * state.squares - state.total**2, n * (n - 1) << 2 * state.bits)


_ERROR = 0.01
_LOG_GAMMA = math.log((1 + _ERROR) / (1 - _ERROR))
_PER_E = 1 / _LOG_GAMMA
_LOG_MIDDLE = math.log1p(-_ERROR)
_LOG_LARGEST = math.log(sys.float_info.max)
_ORIGIN = 40_000
"""Above the bucket number of the smallest double, so that keys sort as values do: negative, 0, positive."""


class Quantile(Accumulator[dict[int, int], float | None]):
    """A quantile by counts of logarithmic buckets (DDSketch), which are integers: merging and removing are exact."""

    invertible = True
    _decoder = msgspec.msgpack.Decoder(dict[int, int])

    def __init__(self, q: float) -> None:
        self._q = q

    @override
    def new(self) -> dict[int, int]:
        return {}

    @override
    def add(self, state: dict[int, int], value: float, time_ms: int) -> None:
        if value > 0:
            bucket = _ORIGIN + math.ceil(math.log(value) * _PER_E)
        elif value < 0:
            bucket = -_ORIGIN - math.ceil(math.log(-value) * _PER_E)
        else:
            bucket = 0
        state[bucket] = state.get(bucket, 0) + 1

    @override
    def absorb(self, state: dict[int, int], other: dict[int, int]) -> None:
        add_counts(state, other)

    @override
    def remove(self, state: dict[int, int], other: dict[int, int]) -> None:
        remove_counts(state, other)

    @override
    def result(self, state: dict[int, int]) -> float | None:
        rank = math.floor(self._q * (sum(state.values()) - 1))
        for bucket in sorted(state):
            rank -= state[bucket]
            if rank < 0:
                return _middle(bucket)
        return None

    @override
    def encode(self, state: dict[int, int]) -> bytes:
        return _pack(state)

    @override
    def decode(self, data: bytes) -> dict[int, int]:
        return self._decoder.decode(data)


def _middle(bucket: int) -> float:
    """Return the value that is off by the same share at both ends of a bucket."""
    if not bucket:
        return 0.0
    exponent = (abs(bucket) - _ORIGIN) * _LOG_GAMMA + _LOG_MIDDLE
    return math.copysign(math.exp(min(exponent, _LOG_LARGEST)), bucket)


def add_counts(counts: dict[Any, int], other: dict[Any, int]) -> None:
    """Add the counts of ``other``."""
    for value, count in other.items():
        counts[value] = counts.get(value, 0) + count


def remove_counts(counts: dict[Any, int], other: dict[Any, int]) -> None:
    """Take away the counts of ``other``; what comes to nothing is dropped."""
    for value, count in other.items():
        left = counts[value] - count
        if left:
            counts[value] = left
        else:
            del counts[value]
