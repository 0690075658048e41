"""Columns to JSON rows through a struct, after a check of each column as a whole.

The check vouches for values that a flat field (text, numbers, booleans, dates, times, ``Literal``, each perhaps
``None``) surely takes, and writes as they are.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone
from typing import Any, TypeAlias, TypeVar, cast

import msgspec
import numpy as np
from msgspec import inspect
from pydantic_core import TzInfo

from streamserve.codecs.resume import map_resuming

__all__ = ["ColumnRule", "RowWriter", "row_writer"]

R = TypeVar("R")

_LARGE = 1e16
"""From here on msgspec writes ``1e16`` and pydantic ``1e+16``."""

_WORTH_PACKING = 64
"""Rows from which on NumPy's calls cost less than a loop."""

Check: TypeAlias = Callable[[Sequence[Any]], Iterable[int]]
"""Gives the indices of the values that a column's constraints may refuse; ``None`` is not asked about."""


@dataclass(frozen=True, slots=True)
class ColumnRule:
    """The classes a column's values must have, exactly, and a check of its constraints.

    >>> ColumnRule(frozenset({float}), _floats_within(0, 1)).suspects([0.5, 2.0, 1])
    {1, 2}
    """

    classes: frozenset[type]
    check: Check | None = None

    def suspects(self, column: Sequence[Any]) -> Iterable[int]:
        """Return the indices of the values that are not known to be valid as they are."""
        if not self._familiar(column):
            strange = {index for index, value in enumerate(column) if type(value) not in self.classes}
            familiar = [None if index in strange else value for index, value in enumerate(column)]
            return strange.union(self.check(familiar) if self.check else ())
        return self.check(column) if self.check else ()

    def _familiar(self, column: Sequence[Any]) -> bool:
        """Tell whether every value has one of the classes."""
        if len(self.classes) > 1:
            return set(map(type, column)) <= self.classes
        [only] = self.classes
        return list(map(type, column)).count(only) == len(column)  # faster than a set


class RowWriter:
    """Encodes rows of known classes within known bounds, and leaves the others to the caller.

    ``struct`` takes every field by position, and ``rules`` has the rule of each.
    """

    def __init__(self, struct: type[msgspec.Struct], rules: Sequence[ColumnRule]) -> None:
        self._struct = struct
        self._rules = rules
        self._encode = msgspec.json.Encoder().encode

    def write(self, columns: Sequence[Sequence[Any]], otherwise: Callable[[int], R]) -> list[bytes | R]:
        """Encode row by row; rows that the rules do not vouch for are ``otherwise(index)``."""
        rows = map_resuming(self._encode, map(self._struct, *columns), lambda index, _: otherwise(index))
        for rule, column in zip(self._rules, columns, strict=True):
            for index in rule.suspects(column):
                rows[index] = otherwise(index)
        return rows


def row_writer(struct: type[msgspec.Struct]) -> RowWriter | None:
    """Return the writer for ``struct``, or ``None`` when it has no fields or one is not flat."""
    described = cast("inspect.StructType", inspect.type_info(struct))
    rules = [_rule(field.type) for field in described.fields]
    complete = [rule for rule in rules if rule is not None]
    return RowWriter(struct, complete) if rules and len(complete) == len(rules) else None


def _rule(kind: inspect.Type) -> ColumnRule | None:
    if isinstance(kind, inspect.UnionType):
        return _optional(kind)
    build = _RULES.get(type(kind))
    return None if build is None else build(kind)


def _optional(kind: inspect.UnionType) -> ColumnRule | None:
    present = [member for member in kind.types if not isinstance(member, inspect.NoneType)]
    rule = _rule(present[0]) if len(present) == 1 else None
    return None if rule is None else ColumnRule(rule.classes | {type(None)}, rule.check)


def _float(kind: inspect.FloatType) -> ColumnRule | None:
    if kind.multiple_of is not None:
        return None
    low = -math.inf if kind.ge is None else kind.ge
    high = math.inf if kind.le is None else kind.le
    if kind.gt is not None:
        low = math.nextafter(kind.gt, math.inf)
    if kind.lt is not None:
        high = math.nextafter(kind.lt, -math.inf)
    plain = math.nextafter(_LARGE, 0)
    return ColumnRule(frozenset({float}), _floats_within(max(low, -plain), min(high, plain)))


def _int(kind: inspect.IntType) -> ColumnRule | None:
    if kind.multiple_of is not None:
        return None
    low = kind.ge if kind.gt is None else kind.gt + 1
    high = kind.le if kind.lt is None else kind.lt - 1
    if low is high is None:
        return ColumnRule(frozenset({int}))
    return ColumnRule(frozenset({int}), _within(-math.inf if low is None else low, math.inf if high is None else high))


def _str(kind: inspect.StrType) -> ColumnRule | None:
    if kind.pattern is not None:
        return None
    if kind.min_length is kind.max_length is None:
        return ColumnRule(frozenset({str}))
    return ColumnRule(
        frozenset({str}), _of_length(kind.min_length or 0, math.inf if kind.max_length is None else kind.max_length)
    )


def _literal(kind: inspect.LiteralType) -> ColumnRule | None:
    if not all(type(value) is str for value in kind.values):
        return None
    return ColumnRule(frozenset({str}), _one_of(frozenset(kind.values)))


def _datetime(kind: inspect.DateTimeType) -> ColumnRule:
    return ColumnRule(frozenset({datetime}), _in_zones(kind.tz))


_RULES: Mapping[type[inspect.Type], Callable[[Any], ColumnRule | None]] = {
    inspect.BoolType: lambda _: ColumnRule(frozenset({bool})),
    inspect.DateType: lambda _: ColumnRule(frozenset({date})),
    inspect.FloatType: _float,
    inspect.IntType: _int,
    inspect.StrType: _str,
    inspect.LiteralType: _literal,
    inspect.DateTimeType: _datetime,
}


def _within(low: float, high: float) -> Check:
    def check(column: Sequence[Any]) -> list[int]:
        return [index for index, value in enumerate(column) if value is not None and not low <= value <= high]

    return check


def _floats_within(low: float, high: float) -> Check:
    """Check a column of floats, a long one as a packed array where it has no ``None``."""
    check_each = _within(low, high)

    def check(column: Sequence[Any]) -> Iterable[int]:
        if len(column) < _WORTH_PACKING:
            return check_each(column)
        try:
            packed = np.frombuffer(struct.pack(f"{len(column)}d", *column))
        except struct.error:
            return check_each(column)
        return () if low <= packed.min() and packed.max() <= high else check_each(column)  # NaN is neither

    return check


def _of_length(low: int, high: float) -> Check:
    def check(column: Sequence[Any]) -> list[int]:
        return [index for index, value in enumerate(column) if value is not None and not low <= len(value) <= high]

    return check


def _one_of(allowed: frozenset[object]) -> Check:
    def check(column: Sequence[Any]) -> list[int]:
        return [index for index, value in enumerate(column) if value is not None and value not in allowed]

    return check


def _in_zones(required: bool | None) -> Check:
    """Check a column of times by their few distinct zones."""

    def fits(zone: object) -> bool:
        return _is_plain(zone) and (required is None or required is (zone is not None))

    def check(column: Sequence[Any]) -> list[int]:
        if all(map(fits, {value.tzinfo for value in column if value is not None})):
            return []
        return [index for index, value in enumerate(column) if value is not None and not fits(value.tzinfo)]

    return check


def _is_plain(zone: object) -> bool:
    """Tell whether msgspec and pydantic write the zone alike: not so where its offset can have seconds."""
    if zone is None:
        return True
    offset = zone.utcoffset(None) if isinstance(zone, timezone | TzInfo) else None
    return offset is not None and not offset % timedelta(minutes=1)
