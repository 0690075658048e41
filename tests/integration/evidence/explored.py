"""Which pairs of crash points have been struck, in memory that processes share, so that none is struck twice.

A square of bytes, a row for each first point and a column for each second. What a strike has written there survives the
death that follows. In the place of a second point ``START``, which strikes nothing, stands whether the row is complete:
whether a recovery from its point was left alone to its end, since it passed nothing that was still to be struck.
"""

from __future__ import annotations

import hashlib
import random
from collections import deque
from collections.abc import Iterable, Sequence
from mmap import mmap
from pathlib import Path
from typing import Final, Self, TypeAlias

from tests.integration.evidence.points import POINTS, START, is_asked_for

__all__ = ["Explored", "PairOfPoints"]

PairOfPoints: TypeAlias = tuple[int, int]
"""The numbers of a point and of one that struck in the recovery from it."""

SIDE: Final = len(POINTS) + 1
_OPEN, _STRUCK, _JUDGED = range(3)
_HEAD: Final = hashlib.sha256(repr(POINTS).encode()).digest()


class Explored:
    """The square, as far as it is filled.

    >>> explored = Explored.in_memory()
    >>> explored.strike(START, 7)
    >>> explored.is_struck(START, 7), explored.is_struck(7, START)
    (True, False)
    >>> explored.open_points()
    [0, 7]
    """

    def __init__(self, cells: bytearray | mmap) -> None:
        self._cells = cells

    @classmethod
    def in_memory(cls) -> Self:
        """Return an empty one for this process alone."""
        return cls(bytearray(_HEAD + bytes(SIDE * SIDE)))

    @classmethod
    def in_file(cls, path: Path) -> Self:
        """Return the one that ``path`` holds; an empty one where there is no such file.

        Raises:
            ValueError: it is of other points than today's.
        """
        if not path.exists():
            path.write_bytes(_HEAD + bytes(SIDE * SIDE))
        with path.open("r+b") as file:
            cells = mmap(file.fileno(), 0)
        if cells[: len(_HEAD)] != _HEAD:
            raise ValueError(f"{path} is of other crash points than there are now: begin a new one")
        return cls(cells)

    def is_struck(self, first: int, second: int) -> bool:
        """Return whether ``second`` has struck in the recovery from ``first``."""
        return self._cells[_place(first, second)] != _OPEN

    def strike(self, first: int, second: int) -> None:
        """Note a pair, just before its second point strikes."""
        if not self.is_struck(first, second):
            self._cells[_place(first, second)] = _STRUCK

    def judge(self, pairs: Iterable[PairOfPoints]) -> None:
        """Note that what came of ``pairs`` has been looked at."""
        for pair in pairs:
            self._cells[_place(*pair)] = _JUDGED

    def forget_unjudged(self) -> None:
        """Let pairs be struck once more of which nobody has seen what came of them."""
        for first in range(SIDE):
            unjudged = [second for second, cell in enumerate(self._row(first)) if second and cell == _STRUCK]
            for second in unjudged:
                self._cells[_place(first, second)] = _OPEN
            if unjudged:
                self._cells[_place(first, START)] = _OPEN

    def complete(self, first: int) -> None:
        """Note that a recovery from ``first`` has passed nothing new."""
        self._cells[_place(first, START)] = _JUDGED

    def is_complete(self, first: int) -> bool:
        """Return whether all that a recovery from ``first`` passes has been struck."""
        return self._cells[_place(first, START)] != _OPEN

    def seconds_of(self, first: int) -> list[int]:
        """Return what has struck in recoveries from ``first``."""
        return [second for second, cell in enumerate(self._row(first)) if second and cell]

    def firsts(self) -> list[int]:
        """Return everything from which there have been recoveries: all that has struck, and a start."""
        struck = {second for first in range(SIDE) for second in self.seconds_of(first)}
        return [START, *sorted(struck)]

    def open_points(self) -> list[int]:
        """Return from which of those there may be more to strike."""
        return [first for first in self.firsts() if not self.is_complete(first)]

    def way_on(self, first: int, chance: random.Random) -> int | None:
        """Return what should strike in a recovery from ``first`` to come to an open point soon; ``None``: none is left.

        The first step of a shortest way through pairs that have come about, one of several by ``chance``.
        """
        came_from: dict[int, int] = {first: first}
        left = deque([first])
        while left:
            at = left.popleft()
            if at != first and not self.is_complete(at):
                return _first_step(came_from, first, at)
            nexts = self.seconds_of(at)
            chance.shuffle(nexts)
            for following in nexts:
                if following not in came_from:
                    came_from[following] = at
                    left.append(following)
        return None

    def pairs(self) -> int:
        """Return how many pairs have been struck."""
        return sum(len(self.seconds_of(first)) for first in range(SIDE))

    def counts(self) -> dict[str, int]:
        """Return the figures, by their names."""
        firsts = self.firsts()
        return {
            "points struck": len(firsts) - 1,
            "points that nothing passes": SIDE - len(firsts),
            "points complete": len(firsts) - len(self.open_points()),
            "pairs struck": self.pairs(),
            "pairs not reached": self.not_reached(),
        }

    def never_passed(self) -> list[str]:
        """Name the sides of calls, by ordinal, at which nothing has struck."""
        passed = {_passing(first) for first in self.firsts() if first != START}
        return sorted({_passing(number) for number in range(1, SIDE)} - passed)

    def not_reached(self) -> int:
        """Return how many pairs are asked for whose second point no recovery from the first one passes."""
        complete = [first for first in self.firsts() if self.is_complete(first)]
        asked = sum(is_asked_for(first, second) for first in complete for second in range(1, SIDE))
        return asked - sum(len(self.seconds_of(first)) for first in complete)

    def _row(self, first: int) -> Sequence[int]:
        return self._cells[_place(first, 0) : _place(first + 1, 0)]


def _place(first: int, second: int) -> int:
    return len(_HEAD) + first * SIDE + second


def _passing(number: int) -> str:
    point = POINTS[number - 1]
    return f"{point.call}:{point.when}:{point.ordinal}"


def _first_step(came_from: dict[int, int], first: int, to: int) -> int:
    while came_from[to] != first:
        to = came_from[to]
    return to
