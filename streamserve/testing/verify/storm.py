"""Kills workers and lets their commits fail at random moments, while inputs come."""

from __future__ import annotations

import random
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from streamserve.errors import OutageError
from streamserve.testing.verify.failing import Failing
from streamserve.testing.verify.watching import Watched
from streamserve.testing.verify.workers import Workers

__all__ = ["Feed", "Progress", "Storm"]

_PATIENCE_S: Final = 300.0
"""Without a commit for so long nobody works: longer than a transaction time-out behind a session time-out, and than the
start of all workers on a machine that does much else."""
_POLL_S: Final = 0.2
_BURST_S: Final = 0.06
_SHARES_WAITING: Final = 2
"""So many shares of the inputs may wait: then kills meet workers that have work, and never all of it at the end."""

Feed = Callable[[], None]
"""Writes one share of the inputs."""

Progress = Callable[[int, int], object]
"""Told of records committed and of kills so far."""

_Ends = Mapping[tuple[str, int], int]


@dataclass(slots=True)
class Storm:
    """Strikes ``count`` workers; everything random comes from ``failing.chance``.

    Each start is given calls that fail, and perhaps one that kills it (``Failing``). The other kills come from outside,
    up to 60 ms after a burst of inputs. ``rescalings`` times, some workers end gently, or come back.
    """

    workers: Workers
    watched: Watched
    failing: Failing
    count: int
    progress: Progress = lambda _done, _kills: None
    rescalings: int = 0
    kills: int = 0
    rescaled: int = 0
    _shares_left: int = 0
    _waiting: deque[_Ends] = field(default_factory=deque[_Ends])

    @property
    def chance(self) -> random.Random:
        """Return what decides."""
        return self.failing.chance

    def calm(self, shares: Sequence[Feed]) -> None:
        """Let one worker process all ``shares`` undisturbed."""
        self.workers.start(0)
        for feed in shares:
            feed()
        self._wait_for_all()

    def rage(self, shares: Sequence[Feed]) -> None:
        """Feed one share after the other with a kill in between, and wait until all is committed.

        Raises:
            OutageError: a worker ended otherwise than by a kill, or nothing was committed for five minutes.
        """
        turns = _spread(self.rescalings, len(shares) - 1)
        self._shares_left = len(shares)
        for number in range(self.count):
            self._start(number)
        done = 0
        for place, feed in enumerate(shares[:-1]):
            self._shares_left = len(shares) - 1 - place
            self._strike(feed)
            if place in turns:
                self._rescale()
            done = self._wait_for(more_than=done)
        shares[-1]()
        self._wait_for_all()

    def _strike(self, feed: Feed) -> None:
        """Feed one share, and kill a worker that works."""
        victim = self._victim()
        feed()
        self._waiting.append(self.watched.ends())
        time.sleep(self.chance.random() * _BURST_S)
        self.workers.kill(victim)
        self._revive()

    def _start(self, number: int, *, gently: bool = False) -> None:
        self.workers.start(number, "" if gently else self.failing.choose(self._shares_left))

    def _victim(self) -> int:
        """Wait until a worker works, and choose one of those."""
        give_up = time.monotonic() + _PATIENCE_S
        while not (working := set(self.workers.ready()) - set(self.workers.killed())):
            self._revive()
            self._give_up_after(give_up)
        return self.chance.choice(sorted(working))

    def _rescale(self) -> None:
        """Have fewer workers, or as many as there were at first."""
        numbers = self.workers.numbers
        wanted = self.count if len(numbers) < self.count else self.chance.randrange(1, self.count)
        for number in range(len(numbers), wanted):
            self._start(number)
        for number in numbers[wanted:]:
            self.kills += self.workers.retire(number)
        self.rescaled += 1

    def _revive(self, *, gently: bool = False) -> None:
        """Start again what was killed, by us or by itself."""
        for number in self.workers.killed():
            self.kills += 1
            self._start(number, gently=gently)

    def _wait_for(self, *, more_than: int) -> int:
        """Wait for a commit, and for older shares, whoever dies on the way; return how many records are committed."""
        give_up, last = time.monotonic() + _PATIENCE_S, more_than
        while (done := self.watched.committed()) <= more_than or self._is_behind():
            self._revive()
            if done > last:
                give_up, last = time.monotonic() + _PATIENCE_S, done
            self._give_up_after(give_up)
        self.progress(done, self.kills)
        return done

    def _is_behind(self) -> bool:
        """Tell whether more shares wait than may."""
        while len(self._waiting) > _SHARES_WAITING:
            if self.watched.behind(self._waiting[0]):
                return True
            self._waiting.popleft()
        return False

    def _wait_for_all(self) -> None:
        """Wait until every input is committed; who dies now comes back without faults."""
        ends = self.watched.ends()
        give_up, last = time.monotonic() + _PATIENCE_S, -1
        while left := self.watched.behind(ends):
            self._revive(gently=True)
            if left != last:
                give_up, last = time.monotonic() + _PATIENCE_S, left
                self.progress(self.watched.committed(), self.kills)
            self._give_up_after(give_up)
        self.progress(self.watched.committed(), self.kills)

    def _give_up_after(self, moment: float) -> None:
        if time.monotonic() > moment:
            raise OutageError(f"no commit for {_PATIENCE_S:g} s; the workers' logs end:\n{self.workers.ends()}")
        time.sleep(_POLL_S)


def _spread(count: int, places: int) -> Collection[int]:
    """Return ``count`` of so many places, evenly apart.

    >>> sorted(_spread(3, 8))
    [2, 4, 6]
    """
    return {(turn + 1) * places // (count + 1) for turn in range(count)}
