"""From events to the values that an accumulator takes, a batch at a time."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from operator import attrgetter, itemgetter
from typing import Any

from streamserve.aggregates import Aggregate
from streamserve.errors import AgentError, WindowError

__all__ = ["column_of"]

_NUMBERS = frozenset({int, float, bool})
_PLAIN = frozenset({int, float, bool, str, bytes, datetime})
_NUMERIC_KINDS = frozenset({"sum", "mean", "var", "quantile"})


def column_of(aggregate: Aggregate[Any], events: Sequence[Any]) -> list[Any]:
    """Return one value for each event; ``None`` where there is none to count.

    Raises:
        WindowError: an event has no such field, or a value of a type that the aggregate cannot take.
        AgentError: the field is a function or a property, and raised.
    """
    if aggregate.kind == "count":
        return [True] * len(events)
    column = _extract(aggregate, events)
    if aggregate.kind == "custom":
        return column
    numeric = aggregate.kind in _NUMERIC_KINDS
    types = set(map(type, column)) - {type(None)}
    for strange in types - (_NUMBERS if numeric else _PLAIN):
        raise WindowError(_refusal(aggregate, strange, _NUMBERS if numeric else _PLAIN))
    if datetime in types:
        column = _in_utc(aggregate, column)
    return _without_gaps(column, math.isfinite if numeric else _is_number) if float in types else column


def _extract(aggregate: Aggregate[Any], events: Sequence[Any]) -> list[Any]:
    field = aggregate.field
    if field is None:
        return list(events)
    if not isinstance(field, str):
        try:
            return list(map(field, events))
        except Exception as error:
            raise AgentError(f"the function of aggregate {aggregate!r} raised {type(error).__name__}") from error
    getter: Callable[[Any], Any] = itemgetter(field) if events and isinstance(events[0], dict) else attrgetter(field)
    try:
        return list(map(getter, events))
    except (AttributeError, KeyError, TypeError) as error:
        kinds = ", ".join(sorted({type(event).__name__ for event in events}))
        raise WindowError(
            f"aggregate {aggregate!r}: events of type {kinds} have no field {field!r}; name one that they all have, "
            "or give a function of the event"
        ) from error
    except Exception as error:
        raise AgentError(f"aggregate {aggregate!r}: field {field!r} raised {type(error).__name__}") from error


def _without_gaps(column: list[Any], is_value: Callable[[float], bool]) -> list[Any]:
    """Return the column with ``None`` for floats that are none; mostly there are none, which one sum tells."""
    floats: Iterable[float] = (value for value in column if type(value) is float)
    if math.isfinite(sum(floats)):
        return column
    return [None if type(value) is float and not is_value(value) else value for value in column]


def _is_number(value: float) -> bool:
    return not math.isnan(value)


def _in_utc(aggregate: Aggregate[Any], column: Sequence[Any]) -> list[Any]:
    """Return the column with its instants in UTC, as they come back from the changelog."""
    if any(isinstance(value, datetime) and value.tzinfo is None for value in column):
        raise WindowError(
            f"aggregate {aggregate!r}: an instant without a time zone; give it one (datetime.timezone.utc)"
        )
    return [value.astimezone(UTC) if isinstance(value, datetime) else value for value in column]


def _refusal(aggregate: Aggregate[Any], strange: type, allowed: Iterable[type]) -> str:
    names = ", ".join(sorted(kind.__name__ for kind in allowed))
    return (
        f"aggregate {aggregate!r}: a value of type {strange.__name__}, but it takes {names} or None; "
        "give a function of the event that returns one of these"
    )
