"""Rows of feature views, and how a batch of them becomes columns with a status and an age."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from operator import attrgetter
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamserve.features.base import FeatureStatus

Key: TypeAlias = Any
"""An entity: its one join key's value, or a tuple of several in the table's order; hashable."""

Times: TypeAlias = NDArray[np.int64]
"""Milliseconds since the epoch, UTC."""

UNKNOWN_MS = 2**62
"""The time of a row that has none, or does not exist."""


class ViewRow(NamedTuple):
    """One entity's row in a table, decoded: values in the table's order.

    ``statuses`` is ``None`` where every value is present. ``event_ms`` is the time that the row speaks of.
    """

    values: tuple[Any, ...]
    statuses: tuple[FeatureStatus, ...] | None
    event_ms: int


_event_ms = attrgetter("event_ms")
_values = attrgetter("values")


def not_found(width: int) -> ViewRow:
    """Return the row of an entity that the table does not hold.

    >>> not_found(1).statuses
    ('not-found',)
    """
    return ViewRow((None,) * width, ("not-found",) * width, UNKNOWN_MS)


def row_of(features: Iterable[str], values: Mapping[str, Any], event_ms: int) -> ViewRow:
    """Return the row of an entity that is there: a value of ``None`` is null, a feature without one is not found.

    >>> row_of(["wind", "sky", "gusts"], {"wind": 1.5, "sky": None}, 0).statuses
    ('present', 'null', 'not-found')
    """
    held = tuple(values.get(name) for name in features)
    if all(value is not None for value in held):
        return ViewRow(held, None, event_ms)
    statuses: tuple[FeatureStatus, ...] = tuple(
        "not-found" if name not in values else "null" if value is None else "present"
        for name, value in zip(features, held, strict=True)
    )
    return ViewRow(held, statuses, event_ms)


@dataclass(frozen=True, slots=True)
class Selection:
    """What one view of a service takes from its table: answered name → position in the table, and the maximum age."""

    positions: Mapping[str, int]
    max_age: timedelta | None


@dataclass(frozen=True, slots=True)
class ViewColumns:
    """One view's part of a batch.

    ``statuses`` holds the features that are not present everywhere. ``oldest_ms`` is each row's time, ``UNKNOWN_MS``
    where nothing of it is present. ``refused`` says which rows must not be used though they exist, ``None`` when none.
    """

    columns: Mapping[str, Sequence[Any]]
    statuses: Mapping[str, Sequence[FeatureStatus]]
    oldest_ms: Times
    refused: Sequence[FeatureStatus | None] | None


def to_columns(selection: Selection, rows: Sequence[ViewRow], times_ms: Times) -> ViewColumns:
    """Turn ``rows``, at least one, into columns for events at ``times_ms``, refusing what is too old or not yet true.

    Costs well below a microsecond a row where all values are present.
    """
    row_ms = np.fromiter(map(_event_ms, rows), np.int64, len(rows))
    refused = _refusals(row_ms, times_ms, selection.max_age)
    if refused is None and all(row.statuses is None for row in rows):
        return ViewColumns(_select(selection, map(_values, rows)), {}, row_ms, None)
    return _with_statuses(selection, _refuse(rows, refused), row_ms, refused)


def ages_ms(times_ms: Times, oldest_ms: Times) -> list[int]:
    """Return each row's age: its event's time less the time of its oldest present value, 0 where nothing is present."""
    return np.where(oldest_ms == UNKNOWN_MS, 0, times_ms - oldest_ms).tolist()


def _refusals(row_ms: Times, times_ms: Times, max_age: timedelta | None) -> list[FeatureStatus | None] | None:
    """Say of each row why it must not be used; ``None`` when all may."""
    future = (row_ms > times_ms) & (row_ms != UNKNOWN_MS)
    limit = UNKNOWN_MS if max_age is None else round(max_age.total_seconds() * 1000)
    stale = times_ms - row_ms > limit
    if not (future.any() or stale.any()):
        return None
    pairs = zip(future.tolist(), stale.tolist(), strict=True)
    return ["from-the-future" if ahead else "outside-max-age" if old else None for ahead, old in pairs]


def _refuse(rows: Sequence[ViewRow], refused: Sequence[FeatureStatus | None] | None) -> Sequence[ViewRow]:
    """Return ``rows`` with those that are refused emptied."""
    if refused is None:
        return rows
    width = len(rows[0].values)
    return [
        row if why is None else ViewRow((None,) * width, (why,) * width, row.event_ms)
        for row, why in zip(rows, refused, strict=True)
    ]


def _with_statuses(
    selection: Selection,
    rows: Sequence[ViewRow],
    row_ms: Times,
    refused: Sequence[FeatureStatus | None] | None,
) -> ViewColumns:
    all_present: tuple[FeatureStatus, ...] = ("present",) * len(rows[0].values)
    statuses = _select(selection, (row.statuses or all_present for row in rows))
    present = [[status == "present" for status in column] for column in statuses.values()]
    anything = np.logical_or.reduce(present) if present else np.ones(len(rows), np.bool_)
    return ViewColumns(
        columns=_select(selection, map(_values, rows)),
        statuses={
            name: column for (name, column), held in zip(statuses.items(), present, strict=True) if not all(held)
        },
        oldest_ms=np.where(anything, row_ms, UNKNOWN_MS),
        refused=refused,
    )


def _select(selection: Selection, rows: Any) -> dict[str, list[Any]]:
    """Transpose ``rows``, tuples in the table's order, and pick the columns of ``selection``."""
    columns = list(zip(*rows, strict=True))
    return {name: list(columns[position]) for name, position in selection.positions.items()}


def entity_keys(columns: Sequence[Sequence[Any]], size: int) -> Sequence[Key]:
    """Return the ``size`` entities of a view from its join keys' columns; without any they are all the same one.

    >>> entity_keys([["JFK", "LGA"], [1, 2]], 2)
    [('JFK', 1), ('LGA', 2)]
    >>> entity_keys([], 2)
    [(), ()]
    """
    if len(columns) == 1:
        return columns[0]
    return list(zip(*columns, strict=True)) if columns else [()] * size


def as_lists(columns: Mapping[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """Return ``columns`` with NumPy's arrays turned into lists of Python's scalars."""
    return {name: column.tolist() if isinstance(column, np.ndarray) else column for name, column in columns.items()}


def sample(ages: Sequence[int], limit: int = 32) -> list[float]:
    """Return up to ``limit`` of ``ages`` (milliseconds), evenly spread, in seconds.

    >>> sample([1000, 2000, 3000, 4000], limit=2)
    [1.0, 3.0]
    """
    return [age / 1000 for age in ages[:: -(-len(ages) // limit) or 1]]
