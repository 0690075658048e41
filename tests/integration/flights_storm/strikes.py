"""When workers die and how many there are, and doing it."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.integration.flights_storm.offsets import Offsets, Place, Stand, instance_of
from topologies.flights.demo.workers import Workers

__all__ = ["SESSION_S", "Storm", "Strike", "plan_strikes"]

SESSION_S = 6.0
"""The workers' session: what a worker that stays away for longer owned goes to others. The broker takes no shorter."""

_QUIET_S = 5.0
_STALL_S = 600.0
"""Where much else runs, three workers have taken more than three minutes to start together."""
_FIRST, _LAST = 0.02, 0.9
_LONGEST_WAIT_S = 0.5
_AWAY_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Strike:
    """What happens when ``share`` of the input is committed: a worker is killed, or there are ``workers`` from now."""

    share: float
    workers: int | None = None


def plan_strikes(kills: int, scales: Sequence[int], chance: random.Random) -> list[Strike]:
    """Return so many kills and, in their order, rescalings, at random places of the run.

    >>> planned = plan_strikes(20, [2, 3, 1], random.Random(1))
    >>> len(planned), [strike.workers for strike in planned if strike.workers is not None]
    (23, [2, 3, 1])
    """
    shares = sorted(chance.uniform(_FIRST, _LAST) for _ in range(kills + len(scales)))
    chosen = sorted(chance.sample(range(len(shares)), len(scales)))
    counts = dict(zip(chosen, scales, strict=True))
    return [Strike(share, counts.get(place)) for place, share in enumerate(shares)]


@dataclass(slots=True)
class Storm:
    """Strikes the workers of one app on their way through its input.

    A strike comes a random moment after its place was reached, so anywhere in a batch, a commit or a restore, but never
    before something was committed since the one before. One that has committed since is killed, and comes back at once,
    or after its session has ended and others have taken over.
    """

    workers: Workers
    offsets: Offsets
    strikes: list[Strike]
    chance: random.Random
    share: float = 0.0
    rescalings: int = 0
    latest_strike: float = 0.0
    moved_at: float = field(default_factory=time.monotonic)
    stand: Stand = field(default_factory=dict[Place, tuple[int, str]])
    _due_at: float | None = None
    _back_at: dict[int, float] = field(default_factory=dict[int, float])
    _working: set[str] = field(default_factory=set[str])

    def step(self) -> Strike | None:
        """Look how far the app has come, and do what is due; return the strike that was made."""
        self._look()
        self._revive()
        self.workers.check()
        if not self.strikes or self.share < self.strikes[0].share or self.share <= self.latest_strike:
            return None
        if self._due_at is None:
            self._due_at = time.monotonic() + self.chance.uniform(0, _LONGEST_WAIT_S)
        if time.monotonic() < self._due_at:
            return None
        self._due_at, self.latest_strike = None, self.share
        strike = self.strikes.pop(0)
        self._make(strike)
        self._working.clear()
        return strike

    @property
    def is_over(self) -> bool:
        """Return whether all is done, time included, which idle topics hold back no more; or nothing moves at all."""
        done = not self.strikes and self.share >= 1.0
        return time.monotonic() - self.moved_at > (_QUIET_S if done else _STALL_S)

    def _look(self) -> None:
        stand = self.offsets.stand()
        if stand is not None and stand != self.stand:
            self._working |= {instance_of(mark) for _, (_, mark) in stand.items() - self.stand.items()}
            self.stand, self.moved_at = stand, time.monotonic()
            self.share = self.offsets.share(stand)

    def _revive(self) -> None:
        for number in [number for number, at in self._back_at.items() if at <= time.monotonic()]:
            del self._back_at[number]
            self.workers.revive(number)

    def _make(self, strike: Strike) -> None:
        if strike.workers is None:
            self._kill()
            return
        self._back_at.clear()
        self.workers.scale(strike.workers)
        self.rescalings += 1

    def _kill(self) -> None:
        names = self.workers.names
        running = [number for number in range(len(names)) if number not in self._back_at]
        working = [number for number in running if names[number] in self._working]
        number = self.chance.choice(working or running)
        self.workers.kill(number)
        stays_away = len(running) > 1 and self.chance.random() < _AWAY_SHARE
        self._back_at[number] = time.monotonic() + (SESSION_S + 1 if stays_away else 0.0)
