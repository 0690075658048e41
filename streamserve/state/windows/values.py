"""The accumulators of plain values (numbers, texts, instants) and of users' own functions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
from typing_extensions import override

from streamserve.aggregates import Aggregate, CustomAggregate
from streamserve.errors import AgentError, PlanError
from streamserve.state.windows.accumulators import (
    Accumulator,
    Count,
    Mean,
    Quantile,
    Sum,
    Variance,
    add_counts,
    remove_counts,
)

__all__ = ["Plain", "accumulator_of"]

Plain: TypeAlias = str | float | bool | bytes | datetime
"""What ``min``, ``max``, ``last`` and ``distinct`` take; an instant has a time zone."""

A = TypeVar("A")

_BIG = 1


def _unpack_big(code: int, data: memoryview) -> int:
    if code != _BIG:
        raise ValueError(f"unknown msgpack extension {code}")
    return int.from_bytes(data, "big", signed=True)


_pack = msgspec.msgpack.Encoder().encode
_unpack = msgspec.msgpack.Decoder(ext_hook=_unpack_big).decode


def _portable(value: Any) -> Any:
    """Return the value as msgpack can hold it: integers end at 64 bits there."""
    if type(value) is int and value.bit_length() > 63:  # noqa: PLR2004 - signed 64 bits
        return msgspec.msgpack.Ext(_BIG, value.to_bytes(value.bit_length() // 8 + 1, "big", signed=True))
    return value


class Least(Accumulator[list[Any], Any]):
    """The least value; the state holds none or one.

    Of values that do not compare, numbers come before texts, then bytes, then instants: no event can spoil a state.
    """

    @override
    def new(self) -> list[Any]:
        return []

    @override
    def add(self, state: list[Any], value: Any, time_ms: int) -> None:
        if not state:
            state.append(value)
            return
        try:
            replaces = value < state[0]
        except TypeError:
            replaces = _rank(value) < _rank(state[0])
        if replaces:
            state[0] = value

    @override
    def add_both(self, part: list[Any], whole: list[Any], value: Any, time_ms: int) -> None:
        if part and type(value) is type(part[0]) and value >= part[0]:
            return
        self.add(part, value, time_ms)
        self.add(whole, value, time_ms)

    @override
    def absorb(self, state: list[Any], other: list[Any]) -> None:
        if other:
            self.add(state, other[0], 0)

    @override
    def merge(self, earlier: list[Any], later: list[Any]) -> list[Any]:
        if not (earlier and later):
            return earlier or later
        try:
            stays = earlier[0] <= later[0]
        except TypeError:
            stays = _rank(earlier[0]) < _rank(later[0])
        return earlier if stays else later

    @override
    def result(self, state: list[Any]) -> Any:
        return state[0] if state else None

    @override
    def encode(self, state: list[Any]) -> bytes:
        return _pack([_portable(value) for value in state])

    @override
    def decode(self, data: bytes) -> list[Any]:
        return _unpack(data)


def _rank(value: Plain) -> int:
    """Return the place of a value's kind among the others."""
    return next((rank for rank, kind in enumerate((str, bytes, datetime), 1) if isinstance(value, kind)), 0)


class Greatest(Least):
    """The greatest value."""

    @override
    def add(self, state: list[Any], value: Any, time_ms: int) -> None:
        if not state:
            state.append(value)
            return
        try:
            replaces = value > state[0]
        except TypeError:
            replaces = _rank(value) > _rank(state[0])
        if replaces:
            state[0] = value

    @override
    def add_both(self, part: list[Any], whole: list[Any], value: Any, time_ms: int) -> None:
        if part and type(value) is type(part[0]) and value <= part[0]:
            return
        self.add(part, value, time_ms)
        self.add(whole, value, time_ms)

    @override
    def merge(self, earlier: list[Any], later: list[Any]) -> list[Any]:
        if not (earlier and later):
            return earlier or later
        try:
            stays = earlier[0] >= later[0]
        except TypeError:
            stays = _rank(earlier[0]) > _rank(later[0])
        return earlier if stays else later


class Last(Least):
    """The value of the latest time; the state holds nothing, or a value and its time."""

    @override
    def add(self, state: list[Any], value: Any, time_ms: int) -> None:
        if not state or time_ms >= state[1]:
            state[:] = value, time_ms

    @override
    def add_both(self, part: list[Any], whole: list[Any], value: Any, time_ms: int) -> None:
        self.add(part, value, time_ms)
        self.add(whole, value, time_ms)

    @override
    def absorb(self, state: list[Any], other: list[Any]) -> None:
        if other:
            self.add(state, *other)

    @override
    def merge(self, earlier: list[Any], later: list[Any]) -> list[Any]:
        return earlier if not later or (earlier and earlier[1] > later[1]) else later


class Distinct(Accumulator[dict[Any, int], int]):
    """The number of different values: how often each occurred, so that panes can leave."""

    invertible = True

    @override
    def new(self) -> dict[Any, int]:
        return {}

    @override
    def add(self, state: dict[Any, int], value: Any, time_ms: int) -> None:
        state[value] = state.get(value, 0) + 1

    @override
    def absorb(self, state: dict[Any, int], other: dict[Any, int]) -> None:
        add_counts(state, other)

    @override
    def remove(self, state: dict[Any, int], other: dict[Any, int]) -> None:
        remove_counts(state, other)

    @override
    def result(self, state: dict[Any, int]) -> int:
        return len(state)

    @override
    def encode(self, state: dict[Any, int]) -> bytes:
        return _pack([[_portable(value), count] for value, count in state.items()])

    @override
    def decode(self, data: bytes) -> dict[Any, int]:
        return {value: count for value, count in _unpack(data)}  # noqa: C416 - the pairs are lists


class Custom(Accumulator[list[Any], Any]):
    """A user's functions; their state stands in a cell, because they return a new one.

    What they return is written and read back before it counts: a state that a restart could not read is a fault of the
    event that led to it, and functions are given the same whether there was a restart or not.
    """

    fallible = True

    def __init__(self, aggregate: CustomAggregate[Any, Any]) -> None:
        self._aggregate = aggregate
        self._decoder = msgspec.msgpack.Decoder(aggregate.state)

    def _call(self, function: str, *args: Any) -> Any:
        try:
            return getattr(self._aggregate, function)(*args)
        except Exception as error:
            raise AgentError(
                f"aggregate {self._aggregate!r}: its function {function!r} raised {type(error).__name__}"
            ) from error

    def _state(self, function: str, *args: Any) -> Any:
        """Return what a function made as it is stored."""
        value = self._call(function, *args)
        try:
            return self._decoder.decode(_pack(value))
        except Exception as error:
            wanted = getattr(self._aggregate.state, "__name__", self._aggregate.state)
            raise AgentError(
                f"aggregate {self._aggregate!r}: its function {function!r} returned a {type(value).__name__} that does"
                f" not make a state of type {wanted}"
            ) from error

    @override
    def new(self) -> list[Any]:
        return [self._call("initial")]

    @override
    def copy(self, state: list[Any]) -> list[Any]:
        return [*state]

    @override
    def add(self, state: list[Any], value: Any, time_ms: int) -> None:
        state[0] = self._state("add", state[0], value, time_ms)

    @override
    def absorb(self, state: list[Any], other: list[Any]) -> None:
        state[0] = self._state("merge", state[0], other[0])

    @override
    def merge(self, earlier: list[Any], later: list[Any]) -> list[Any]:
        return [self._call("merge", earlier[0], later[0])]

    @override
    def result(self, state: list[Any]) -> Any:
        return self._call("result", state[0])

    @override
    def nothing(self) -> Any:
        try:
            return super().nothing()
        except AgentError:  # many a share is not defined over nothing
            return None

    @override
    def encode(self, state: list[Any]) -> bytes:
        return _pack(state[0])

    @override
    def decode(self, data: bytes) -> list[Any]:
        return [self._decoder.decode(data)]


_SIMPLE: dict[str, type[Accumulator[Any, Any]]] = {
    "count": Count,
    "sum": Sum,
    "mean": Mean,
    "var": Variance,
    "min": Least,
    "max": Greatest,
    "last": Last,
    "distinct": Distinct,
}


def accumulator_of(aggregate: Aggregate[A]) -> Accumulator[Any, A]:
    """Return what computes ``aggregate``.

    Raises:
        PlanError: the description is not one that ``streamserve.aggregates`` makes.
    """
    return _accumulator(aggregate)


def _accumulator(aggregate: Aggregate[Any]) -> Accumulator[Any, Any]:
    """Return the accumulator; that a kind's results are of its type ``A`` is for the constructors to say."""
    if isinstance(aggregate, CustomAggregate):
        return Custom(cast("CustomAggregate[Any, Any]", aggregate))
    if aggregate.kind == "quantile" and aggregate.parameter is not None:
        return Quantile(aggregate.parameter)
    if aggregate.kind not in _SIMPLE:
        raise PlanError(f"no aggregate {aggregate!r}: make one by a function of streamserve.aggregates")
    return _SIMPLE[aggregate.kind]()
