"""Strikes a worker wherever nothing has struck it yet, and again in the recovery from that, and so on.

What a recovery passes is known only when it does: so pairs of points are not listed beforehand. The explorer sees
every call of a worker. Where the point that it passes has not yet struck in the recovery from the last one, it strikes;
so each strike is the second of one pair and the first of others. A recovery that passes nothing new goes on to the
worker's end in order, and its point is complete. When all is struck that follows a point, the next strikes lead to one
that is not complete.
"""

from __future__ import annotations

import random
import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from streamserve.kafka.calls import When
from streamserve.testing.faults import Fault
from tests.integration.evidence.explored import Explored
from tests.integration.evidence.points import KILLS, NUMBERS, ORDINALS, POINTS, START, Action, Point, is_asked_for

__all__ = ["PREFIX", "RECOVERED", "STRUCK", "Explorer", "Told", "exploring"]

PREFIX: Final = "explore:"
"""What a worker's fault begins with when it is explored."""
STRUCK: Final = "struck: "
"""What a worker writes before it is struck: the numbers of both points, of strikes since a commit, and of commits."""
RECOVERED: Final = "recovered: "
"""What it writes when it has recovered: 1 if nothing was left out, and the number of commits."""

ENOUGH_COMMITS: Final = 4
"""So many commits after a strike, the recovery from it is over, but for the stop: each call comes three times by then,
if it comes with each commit.
"""
PATIENCE: Final = 3
"""So many strikes in a row may come before anything is committed: a point that is the end of an incarnation, what leads
there, and one in the recovery from it. Then the next waits until something is committed.
"""
_FAR: Final = 60
"""Every other time, a number of passed points below this is let be, so that late ones have their turn early."""
_COMMITTED: Final = ("producer.commit_transaction", "after")


@dataclass(slots=True)
class Explorer:
    """A ``Hook``. ``strikes`` is told of a pair, and lets its second point strike; ``ends`` asks the worker to stop.

    Ordinals count from the last strike, whatever process it was in. A recovery takes ``lasting_s`` at least, for calls
    that come with time only.
    """

    explored: Explored
    chance: random.Random
    strikes: Callable[[int, int], None]
    ends: Callable[[], None]
    actions: frozenset[Action] = frozenset({"raise", "kill", "leave"})
    lasting_s: float = 0.0
    last: int = START
    fruitless: int = 0
    """Strikes since something was committed."""
    commits: int = 0
    """All of them."""
    left_out: bool = False
    """Whether this recovery has passed something that has yet to strike, and did not."""
    recovered: bool = False
    _since: int = 0
    _passed: int = 0
    _far: int = 0
    _lead: int | None = None
    _began: float = 0.0
    _counts: Counter[tuple[str, When]] = field(default_factory=Counter[tuple[str, When]])

    def __post_init__(self) -> None:
        self.recover_from(self.last)

    def recover_from(self, last: int) -> None:
        """Begin to count: what struck last was ``last``."""
        self.last, self.left_out, self.recovered = last, False, False
        self._since = self._passed = 0
        self._counts.clear()
        self._began = time.monotonic()
        complete = self.explored.is_complete(last)
        self._lead = self.explored.way_on(last, self.chance) if complete else None
        self._far = 0 if complete or self.chance.random() < 0.5 else self.chance.randrange(_FAR)

    def __call__(self, name: str, when: When) -> None:
        """Pass a side of a call; strike if it is time."""
        self._counts[name, when] += 1
        if (name, when) == _COMMITTED:
            self._since += 1
            self.commits += 1
            self.fruitless = 0
        if self._counts[name, when] <= ORDINALS:
            self._passed += 1
            self._pass(name, when)
        if self._since >= ENOUGH_COMMITS and time.monotonic() - self._began >= self.lasting_s:
            self.recovered = True
            self.ends()

    def _pass(self, name: str, when: When) -> None:
        """Strike if any of the points here is to strike."""
        for action in ("raise", "kill", "leave"):
            number = NUMBERS.get(Point(name, when, self._counts[name, when], action))
            if number is not None and action in self.actions and self._is_wanted(number):
                self._strike(number)
                return

    def _is_wanted(self, number: int) -> bool:
        news = is_asked_for(self.last, number) and not self.explored.is_struck(self.last, number)
        if not news and number != self._lead:
            return False
        ripe = self.fruitless < PATIENCE and (self.recovered or self._passed >= self._far)
        self.left_out |= news and not ripe
        return ripe

    def _strike(self, number: int) -> None:
        first = self.last
        self.explored.strike(first, number)
        self.fruitless += 1
        self.recover_from(number)
        self.strikes(first, number)


class Told(msgspec.Struct, frozen=True):
    """What a worker process is told."""

    file: str
    last: int
    fruitless: int
    seed: str
    lasting_s: float

    def __str__(self) -> str:
        return PREFIX + msgspec.json.encode(self).decode()


def exploring(text: str, stop: Callable[[], None]) -> Explorer | None:
    """Return the explorer that ``text`` describes, ``None`` where it is for the plain switch."""
    if not text.startswith(PREFIX):
        return None
    told = msgspec.json.decode(text.removeprefix(PREFIX), type=Told)
    said = False

    def strike(first: int, number: int) -> None:
        print(f"{STRUCK}{first} {number} {explorer.fruitless} {explorer.commits}", file=sys.stderr, flush=True)
        struck(number)

    def end() -> None:
        nonlocal said
        if not said:
            print(f"{RECOVERED}{int(not explorer.left_out)} {explorer.commits}", file=sys.stderr, flush=True)
        said = True
        stop()

    explorer = Explorer(
        Explored.in_file(Path(told.file)),
        random.Random(told.seed),  # noqa: S311 - no secret
        strike,
        end,
        lasting_s=told.lasting_s,
        last=told.last,
        fruitless=told.fruitless,
    )
    return explorer


def struck(number: int) -> None:
    """Let a point strike this process.

    Raises:
        KafkaException: the call fails.
    """
    point = POINTS[number - 1]
    Fault(point.call, point.when, point.ordinal, "kill" if point.action in KILLS else "raise").strike()
