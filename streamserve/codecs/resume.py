"""Run a function over a batch at full speed, and mend the items on which it raises."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeVar

__all__ = ["map_resuming"]

T = TypeVar("T")
R = TypeVar("R")
E = TypeVar("E")


def map_resuming(function: Callable[[T], R], items: Iterable[T], mend: Callable[[int, Exception], E]) -> list[R | E]:
    """Return ``function`` of each item, or ``mend(index, error)`` for the items on which it raised.

    A batch without faults costs one ``map``; a fault costs one ``mend`` and nothing is done twice.

    >>> map_resuming(int, ["1", "x", "3"], lambda index, error: f"{index}: {type(error).__name__}")
    [1, '1: ValueError', 3]
    """
    results: list[R | E] = []
    pending = map(function, items)
    while True:
        try:
            results.extend(pending)  # keeps what came before the item that raised
        except Exception as error:
            results.append(mend(len(results), error))
        else:
            return results
