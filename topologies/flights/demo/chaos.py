"""SIGKILL at random moments of the replay."""

from __future__ import annotations

import random
import time

from topologies.flights.demo.workers import Workers

__all__ = ["Chaos"]

_LONGEST_WAIT_S = 0.1


class Chaos:
    """Kills a random worker ``kills`` times, each when a random share of the flights has been answered.

    The kill comes a random moment after that, anywhere in a batch or a commit.
    """

    def __init__(self, workers: Workers, *, events: int, kills: int) -> None:
        self._workers = workers
        self._random = random.SystemRandom()
        self._points = sorted(int(events * self._random.uniform(0.05, 0.9)) for _ in range(kills))
        self._due_at: float | None = None

    @property
    def done(self) -> bool:
        """Return whether all kills were made."""
        return not self._points

    def step(self, answered: int) -> bool:
        """Kill if it is time to, and return whether that happened."""
        if not self._points or answered < self._points[0]:
            return False
        if self._due_at is None:
            self._due_at = time.monotonic() + self._random.uniform(0, _LONGEST_WAIT_S)
        if time.monotonic() < self._due_at:
            return False
        self._due_at = None
        self._points.pop(0)
        number = self._random.randrange(len(self._workers.urls))
        self._workers.kill(number)
        self._workers.revive(number)
        return True
