"""The accumulators of plain values (numbers, texts, instants) and of users' own functions."""

from __future__ import annotations

from datetime import datetime
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
from typing_extensions import override

from streamserve.aggregates import Aggregate, CustomAggregate
from streamserve.errors import ConfigurationError, PlanError
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
    """The least value; the state holds none or one."""

    @override
    def new(self) -> list[Any]:
        return []

    @override
    def add(self, state: list[Any], value: Any, time_ms: int) -> None:
        if not state:
            state.append(value)
        elif value < state[0]:
            state[0] = value

    @override
    def absorb(self, state: list[Any], other: list[Any]) -> None:
        if other:
            self.add(state, other[0], 0)

    @override
    def merge(self, earlier: list[Any], later: list[Any]) -> list[Any]:
        return earlier if not later or (earlier and earlier[0] <= later[0]) else later

    @override
    def result(self, state: list[Any]) -> Any:
        return state[0] if state else None

    @override
    def encode(self, state: list[Any]) -> bytes:
        return _pack([_portable(value) for value in state])

    @override
    def decode(self, data: bytes) -> list[Any]:
        return _unpack(data)


class Greatest(Least):
    """The greatest value."""

    @override
    def add(self, state: list[Any], value: Any, time_ms: int) -> None:
        if not state:
            state.append(value)
        elif value > state[0]:
            state[0] = value

    @override
    def merge(self, earlier: list[Any], later: list[Any]) -> list[Any]:
        return earlier if not later or (earlier and earlier[0] >= later[0]) else later


class Last(Least):
    """The value of the latest time; the state holds nothing, or a value and its time."""

    @override
    def add(self, state: list[Any], value: Any, time_ms: int) -> None:
        if not state or time_ms >= state[1]:
            state[:] = value, time_ms

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
    """A user's functions; their state stands in a cell, because they return a new one."""

    def __init__(self, aggregate: CustomAggregate[Any, Any]) -> None:
        self._aggregate = aggregate
        self._decoder = msgspec.msgpack.Decoder(aggregate.state)

    def _failure(self, function: str, error: Exception) -> ConfigurationError:
        return ConfigurationError(
            f"aggregate {self._aggregate!r}: its function {function!r} raised {type(error).__name__}; "
            "mend it, or leave such events out by a field function that returns None"
        )

    @override
    def new(self) -> list[Any]:
        return [self._aggregate.initial()]

    @override
    def add(self, state: list[Any], value: Any, time_ms: int) -> None:
        try:
            state[0] = self._aggregate.add(state[0], value, time_ms)
        except Exception as error:
            raise self._failure("add", error) from error

    @override
    def absorb(self, state: list[Any], other: list[Any]) -> None:
        try:
            state[0] = self._aggregate.merge(state[0], other[0])
        except Exception as error:
            raise self._failure("merge", error) from error

    @override
    def result(self, state: list[Any]) -> Any:
        try:
            return self._aggregate.result(state[0])
        except Exception as error:
            raise self._failure("result", error) from error

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
