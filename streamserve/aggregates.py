# ruff: noqa: A001 - sum, min and max are reached as attributes of this module
"""What can be computed over the events of a window, as plain descriptions.

A ``field`` is the name of a field of the event, or a function of the event. Values that are missing (``None``, NaN)
are left out, as SQL does; numeric aggregates leave out infinities too. Over nothing the result is ``None``; ``count``
and ``distinct`` give 0.

>>> from streamserve import aggregates
>>> aggregates.mean("delay")
mean(delay)

The names ``sum``, ``min`` and ``max`` stand for Python's own elsewhere: write ``aggregates.sum``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeAlias, TypeVar, overload

from streamserve.errors import PlanError

__all__ = [
    "Aggregate",
    "CustomAggregate",
    "Field",
    "Kind",
    "count",
    "custom",
    "distinct",
    "last",
    "max",
    "mean",
    "min",
    "quantile",
    "sum",
    "var",
]

A = TypeVar("A")
S = TypeVar("S")
T = TypeVar("T")
E = TypeVar("E")

Field: TypeAlias = str | Callable[[Any], Any]
"""The name of a field of the event, or a function of the event that returns a plain value."""

Kind: TypeAlias = Literal["count", "sum", "mean", "var", "min", "max", "quantile", "last", "distinct", "custom"]


@dataclass(frozen=True, slots=True, repr=False)
class Aggregate(Generic[A]):
    """A function of a window's events with results of type ``A``: a plain description, made by this module's functions.

    ``field`` is ``None`` where the whole event counts. ``parameter`` is the ``q`` of a quantile.
    """

    kind: Kind
    field: Field | None = None
    parameter: float | None = None

    def __repr__(self) -> str:
        words = [] if self.field is None else [_name_of(self.field)]
        if self.parameter is not None:
            words.append(repr(self.parameter))
        return f"{self.kind}({', '.join(words)})"

    @property
    def format(self) -> str:
        """What must not change while stored state is to be read again: neither the field nor its function is in it."""
        return self.kind


@dataclass(frozen=True, slots=True, repr=False, kw_only=True)
class CustomAggregate(Aggregate[A], Generic[A, S]):
    """An aggregate of the user's own functions over a state of type ``S``; ``custom`` makes it."""

    name: str
    state: type[S]
    initial: Callable[[], S]
    add: Callable[[S, Any, int], S]
    merge: Callable[[S, S], S]
    result: Callable[[S], A]

    def __repr__(self) -> str:
        return f"custom({self.name})"

    @property
    def format(self) -> str:
        """What must not change while stored state is to be read again."""
        return f"custom {self.name}"


def _name_of(field: Field) -> str:
    return field if isinstance(field, str) else getattr(field, "__name__", type(field).__name__)


def count() -> Aggregate[int]:
    """Count the events.

    >>> count()
    count()
    """
    return Aggregate("count")


def sum(field: Field) -> Aggregate[float | None]:
    """Add up a number: integers give an integer; floats are added exactly and rounded once, whatever their order."""
    return Aggregate("sum", field)


def mean(field: Field) -> Aggregate[float | None]:
    """Average a number: the exact quotient of exact sum and count, rounded once. Booleans give a share."""
    return Aggregate("mean", field)


def var(field: Field) -> Aggregate[float | None]:
    """Return the sample variance (divided by n - 1), computed exactly and rounded once; ``None`` below two values."""
    return Aggregate("var", field)


@overload
def min(field: str) -> Aggregate[Any]: ...
@overload
def min(field: Callable[[Any], T]) -> Aggregate[T | None]: ...
def min(field: Field) -> Aggregate[Any]:
    """Return the least value of numbers, texts or instants (of one kind; instants in UTC)."""
    return Aggregate("min", field)


@overload
def max(field: str) -> Aggregate[Any]: ...
@overload
def max(field: Callable[[Any], T]) -> Aggregate[T | None]: ...
def max(field: Field) -> Aggregate[Any]:
    """Return the greatest value of numbers, texts or instants (of one kind; instants in UTC)."""
    return Aggregate("max", field)


def quantile(field: Field, q: float) -> Aggregate[float | None]:
    """Return the value of rank ``floor(q * (n - 1))`` of the sorted values, within 1 % of it: ``q=0.5``, the median.

    The sketch holds a count for each interval of 1 % (DDSketch: Masson, Rim and Lee, PVLDB 2019), so it takes memory
    for the range of the values, not for their number: about 115 intervals for each factor of ten.

    Raises:
        PlanError: ``q`` is not between 0 and 1.
    """
    if not 0.0 <= q <= 1.0:
        raise PlanError(f"quantile({_name_of(field)}, {q}): q is a share between 0 and 1, for example 0.5 or 0.99")
    return Aggregate("quantile", field, q)


@overload
def last(field: str) -> Aggregate[Any]: ...
@overload
def last(field: Callable[[Any], T]) -> Aggregate[T | None]: ...
def last(field: Field) -> Aggregate[Any]:
    """Return the value with the latest event time; of several at one instant, the one that was processed last."""
    return Aggregate("last", field)


def distinct(field: Field) -> Aggregate[int]:
    """Count the different values, exactly: memory grows with their number."""
    return Aggregate("distinct", field)


def custom(
    name: str,
    *,
    state: type[S],
    initial: Callable[[], S],
    add: Callable[[S, E, int], S],
    merge: Callable[[S, S], S],
    result: Callable[[S], A],
    field: str | Callable[[Any], E] | None = None,
) -> Aggregate[A]:
    """Describe an aggregate by functions over a state that they never change in place.

    ``add(state, value, time_ms)`` takes one event, or its ``field`` where one is named. ``merge(earlier, later)`` joins
    the states of two stretches of time: it is associative, and ``initial()`` changes nothing on either side. ``state``
    is the type of the state, which msgspec can write as msgpack and read back: numbers, texts, tuples, lists, dicts,
    dataclasses, structs. Results do not depend on the order of arrival where ``add`` and ``merge`` do not.

    An event on which a function raises, or leads to a state that is not of its type, becomes a dead letter, and the
    state stays as it was. Where ``result`` raises for a window that closes, that result becomes one; over nothing the
    aggregate is ``None`` then. Functions may be called again for an event that was undone.

    >>> custom(
    ...     "latest_gap",
    ...     state=tuple[int, int],
    ...     initial=lambda: (0, 0),
    ...     add=lambda state, event, time_ms: (time_ms - state[1], time_ms),
    ...     merge=lambda earlier, later: later if later[1] else earlier,
    ...     result=lambda state: state[0],
    ... )
    custom(latest_gap)

    Raises:
        PlanError: ``name`` is empty; stored state is recognised by it.
    """
    if not name:
        raise PlanError("a custom aggregate needs a name: its stored state is recognised by it")
    return CustomAggregate(
        kind="custom",
        field=field,
        name=name,
        state=state,
        initial=initial,
        add=add,
        merge=merge,
        result=result,
    )
