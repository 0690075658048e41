"""How many rows go into one run, and how a run that fails is narrowed down to the rows at fault."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from streamserve.clock import Clock

__all__ = ["BATCH_SIZES", "Piece", "RunRefused", "choose_batch_size", "run_in_pieces"]

T = TypeVar("T")

BATCH_SIZES = (32, 64, 128, 256, 512, 1024, 2048, 4096, 8192)
"""The sizes that are tried, in rows."""

_MAX_REPEATS = 10


class RunRefused(Exception):
    """A run failed because of its rows; the text says how, without their values."""


@dataclass(frozen=True, slots=True)
class Piece(Generic[T]):
    """Rows ``start`` to ``stop`` (excluded) of a batch: their ``result``, or for a single row why it has none."""

    start: int
    stop: int
    result: T | RunRefused


def run_in_pieces(run: Callable[[int, int], T], count: int, batch_size: int) -> Iterator[Piece[T]]:
    """Call ``run(start, stop)`` over ``count`` rows, in even pieces of at most ``batch_size``, in order.

    A piece for which ``run`` raises ``RunRefused`` is halved until only rows that fail alone are left out. One bad row
    in a piece of n costs about ``2 log2 n`` more runs.

    >>> def run(start: int, stop: int) -> str:
    ...     if start <= 2 < stop:
    ...         raise RunRefused("no third row")
    ...     return f"{start}-{stop}"
    >>> [str(piece.result) for piece in run_in_pieces(run, 8, batch_size=4)]
    ['0-2', 'no third row', '3-4', '4-8']
    """
    parts = -(-count // batch_size)
    for part in range(parts):
        yield from _halve(run, count * part // parts, count * (part + 1) // parts)


def _halve(run: Callable[[int, int], T], start: int, stop: int) -> Iterator[Piece[T]]:
    try:
        yield Piece(start, stop, run(start, stop))
    except RunRefused as refusal:
        if stop - start == 1:
            yield Piece(start, stop, refusal)
            return
        middle = (start + stop) // 2
        yield from _halve(run, start, middle)
        yield from _halve(run, middle, stop)


def choose_batch_size(
    run: Callable[[int], object],
    clock: Clock,
    *,
    sizes: Sequence[int] = BATCH_SIZES,
    budget_seconds: float = 0.3,
    tolerance: float = 0.01,
) -> int:
    """Measure ``run(rows)`` and return the largest of ``sizes`` whose time per row is near the best.

    Near means within ``tolerance`` of it: of equals, large runs leave less to do around them, but some models are
    slower per row where their working set falls out of the cache. Each size is run once to warm up, then timed up to
    ten times, and the shortest time counts, since whatever else the machine does only adds to it. ``sizes`` increase;
    those that the budget has no time for are not tried, so a slow model gets a small size. The budget bounds everything
    but the first size's two runs.
    """
    end = clock.monotonic() + budget_seconds
    per_row: dict[int, float] = {}
    for index, size in enumerate(sizes):
        remaining = end - clock.monotonic()
        if per_row and 2 * size * min(per_row.values()) > remaining:
            break
        per_row[size] = _time(run, size, clock, remaining / (len(sizes) - index)) / size
    limit = min(per_row.values()) * (1 + tolerance)
    return max(size for size, seconds in per_row.items() if seconds <= limit)


def _time(run: Callable[[int], object], size: int, clock: Clock, budget_seconds: float) -> float:
    """Return the shortest of some runs, in seconds."""
    end = clock.monotonic() + budget_seconds
    run(size)
    shortest = float("inf")
    for _ in range(_MAX_REPEATS):
        start = clock.monotonic()
        run(size)
        now = clock.monotonic()
        shortest = min(shortest, now - start)
        if now >= end:
            break
    return shortest
