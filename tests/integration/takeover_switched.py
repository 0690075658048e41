"""Takeovers at a call of the commit, where the fault switch stops the old owner."""

from __future__ import annotations

import random
from dataclasses import dataclass

from tests.integration.state_driving import SMALL, StateDriver, spent_events
from tests.integration.takeover_endings import EVENTS, Ending, verdict

MOMENTS = (
    "producer.flush:after",
    "producer.send_offsets:before",
    "producer.send_offsets:after",
    "producer.commit_transaction:before",
    "producer.commit_transaction:after",
)


@dataclass(frozen=True, slots=True)
class Switched:
    """What the old owner does, and when: at the ``ordinal``-th time that it comes to ``moment``.

    It dies; or stands still for 3 s while another takes its name, which fences it at once; or stands still for half a
    second while another joins, which makes it commit inside the rebalance.
    """

    ending: Ending
    moment: str
    ordinal: int

    @classmethod
    def chosen(cls, ending: Ending, chance: random.Random) -> Switched:
        """Return a try at any moment of one of the first commits."""
        return cls(ending, chance.choice(MOMENTS), chance.randrange(1, 4))

    @property
    def fault(self) -> str:
        action = {"dies": "kill", "stands still": "pause:3", "gives way": "pause:0.5"}[self.ending]
        return f"{self.moment}:{self.ordinal}:{action}"

    def take_over(self, driver: StateDriver, first: int, seed: int) -> list[str]:
        """See ``Try``."""
        old = driver.start("w0", self.fault, **SMALL)
        driver.wait(lambda: old.said("ready"), "the old owner")
        before = driver.committed()
        driver.spend(spent_events(EVENTS, random.Random(seed), first=first))  # noqa: S311 - no secret
        if self.ending == "dies":
            old.wait()
        elif self.ordinal > 1:
            driver.wait(lambda: driver.committed() > before, "a commit")
        new = driver.start("w1" if self.ending == "gives way" else "w0", **SMALL)
        driver.wait(lambda: new.said("ready"), "the new owner")
        return verdict(driver, old, new)
