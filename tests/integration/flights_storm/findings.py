"""What a comparison found."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from typing import TypeVar

__all__ = ["Finding", "compare"]

K = TypeVar("K", bound=Hashable)

_SHOWN = 3
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class Finding:
    """``compared`` things were looked at, ``differing`` of them were wrong, ``examples`` says how."""

    what: str
    compared: int
    differing: int
    examples: tuple[str, ...] = ()


def compare(what: str, expected: Mapping[K, object], found: Mapping[K, object]) -> Finding:
    """Hold what was ``found`` against what was ``expected``, key by key: missing and surplus keys differ too.

    >>> compare("sums", {"a": 1, "b": 2}, {"b": 3})
    Finding(what='sums', compared=2, differing=2, examples=("'a': None, not 1", "'b': 3, not 2"))
    """
    wrong = [key for key in {**expected, **found} if expected.get(key) != found.get(key)]
    examples = tuple(f"{key!r}: {_short(found.get(key))}, not {_short(expected.get(key))}" for key in wrong[:_SHOWN])
    return Finding(what, len(expected), len(wrong), examples)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"
