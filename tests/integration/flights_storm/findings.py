"""What a comparison found."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass
from operator import eq
from typing import Any, TypeVar, cast

__all__ = ["Finding", "alike", "compare"]

K = TypeVar("K", bound=Hashable)

_SHOWN = 3
_LONGEST = 200
_ROUNDING, _LEAST = 1e-9, 1e-12


@dataclass(frozen=True, slots=True)
class Finding:
    """``compared`` things were looked at, ``differing`` of them were wrong, ``examples`` says how."""

    what: str
    compared: int
    differing: int
    examples: tuple[str, ...] = ()


def compare(
    what: str,
    expected: Mapping[K, object],
    found: Mapping[K, object],
    same: Callable[[object, object], bool] = eq,
) -> Finding:
    """Hold what was ``found`` against what was ``expected``, key by key: missing and surplus keys differ too.

    >>> compare("sums", {"a": 1, "b": 2}, {"b": 3})
    Finding(what='sums', compared=2, differing=2, examples=("'a': None, not 1", "'b': 3, not 2"))
    """
    wrong = [key for key in {**expected, **found} if not same(expected.get(key), found.get(key))]
    examples = tuple(f"{key!r}: {_short(found.get(key))}, not {_short(expected.get(key))}" for key in wrong[:_SHOWN])
    return Finding(what, len(expected), len(wrong), examples)


def alike(one: object, other: object) -> bool:
    """Return whether two values, or all that is in them, are equal up to the rounding of sums: 1e-9 of a number.

    >>> alike({"mean": 0.1 + 0.2, "counts": [1]}, {"mean": 0.3, "counts": [1]}), alike([1.0], [1.1])
    (True, False)
    """
    if isinstance(one, float) and isinstance(other, float):
        return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_LEAST)
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        left, right = cast("Mapping[Any, object]", one), cast("Mapping[Any, object]", other)
        return left.keys() == right.keys() and all(alike(value, right[key]) for key, value in left.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        items, others = cast("Sequence[object]", one), cast("Sequence[object]", other)
        return len(items) == len(others) and all(map(alike, items, others))
    return one == other


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
