"""Kills workers and lets their commits fail at random moments, while inputs come."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from streamserve.errors import OutageError
from streamserve.testing.verify.watching import Watched
from streamserve.testing.verify.workers import Workers

__all__ = ["Feed", "Progress", "Storm"]

_PATIENCE_S: Final = 150.0
"""Without a commit for so long nobody works: longer than a transaction time-out behind a session time-out."""
_POLL_S: Final = 0.2
_BURST_S: Final = 0.06
_CLOSING_CALLS: Final = ("producer.flush", "producer.send_offsets", "producer.commit_transaction")

Feed = Callable[[], None]
"""Writes one share of the inputs."""

Progress = Callable[[int, int], object]
"""Told of records committed and of kills so far."""


@dataclass(slots=True)
class Storm:
    """Strikes ``count`` workers ``kills`` times; everything random comes from ``chance``.

    Each start gives a worker one error that asks for an abort and one commit that is done, but whose answer is lost;
    half of the starts make it kill itself inside a later commit. The other kills come from outside, up to 60 ms after a
    burst of inputs.
    """

    workers: Workers
    watched: Watched
    chance: random.Random
    count: int
    progress: Progress = lambda _done, _kills: None
    kills: int = 0

    def calm(self, shares: Sequence[Feed]) -> None:
        """Let one worker process all ``shares`` undisturbed."""
        self.workers.start(0)
        for feed in shares:
            feed()
        self._wait_for_all()

    def rage(self, shares: Sequence[Feed]) -> None:
        """Feed one share after the other with a kill in between, and wait until all is committed.

        Raises:
            OutageError: a worker ended otherwise than by a kill, or nothing was committed for 150 s.
        """
        for number in range(self.count):
            self._start(number, gently=False)
        done = 0
        for feed in shares[:-1]:
            victim = self._victim()
            feed()
            time.sleep(self.chance.random() * _BURST_S)
            self._kill(victim)
            done = self._wait_for(more_than=done)
        shares[-1]()
        self._wait_for_all()

    def _start(self, number: int, *, gently: bool) -> None:
        faults = [] if gently else self._failures()
        if not gently and self.chance.random() < 0.5:  # noqa: PLR2004 - half of them
            faults.append(f"{self.chance.choice(_CLOSING_CALLS)}:{self._side()}:{self.chance.randrange(4, 60)}:kill")
        self.workers.start(number, ",".join(faults))

    def _failures(self) -> list[str]:
        """Return an error that asks for an abort, and a commit of unknown outcome."""
        first, second = sorted(self.chance.sample(range(2, 16), 2))
        abort = f"{self.chance.choice(_CLOSING_CALLS[:2])}:{self._side()}:{first}:raise"
        return [abort, f"producer.commit_transaction:after:{second}:raise=_TIMED_OUT"]

    def _side(self) -> str:
        return self.chance.choice(("before", "after"))

    def _victim(self) -> int:
        """Wait until a worker works, and choose one of those."""
        give_up = time.monotonic() + _PATIENCE_S
        while not (working := set(self.workers.ready()) - set(self.workers.killed())):
            self._revive()
            self._give_up_after(give_up)
        return self.chance.choice(sorted(working))

    def _kill(self, number: int) -> None:
        self.workers.kill(number)
        self._revive()

    def _revive(self, *, gently: bool = False) -> None:
        """Start again what was killed, by us or by itself."""
        for number in self.workers.killed():
            self.kills += 1
            self._start(number, gently=gently)

    def _wait_for(self, *, more_than: int) -> int:
        """Wait for a commit, whoever dies on the way; return how many records are committed."""
        give_up = time.monotonic() + _PATIENCE_S
        while (done := self.watched.committed()) <= more_than:
            self._revive()
            self._give_up_after(give_up)
        self.progress(done, self.kills)
        return done

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
