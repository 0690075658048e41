"""The restore race: a worker is stopped or dies in the midst of a commit, and another takes over at once.

Its offsets were accepted while the records of its changelog were still on their way; whoever restores then must see
all of them or nothing. ``python -m tests.integration.takeover --tries 50`` is the long version of the test.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypeAlias

from tests.integration.state_driving import SMALL, StateDriver, own_driver, spent_events

EVENTS = 400
MOMENTS = (
    "producer.flush:after",
    "producer.send_offsets:before",
    "producer.send_offsets:after",
    "producer.commit_transaction:before",
    "producer.commit_transaction:after",
)
Ending: TypeAlias = Literal["dies", "stands still", "gives way"]
ENDINGS: tuple[Ending, ...] = ("dies", "stands still", "gives way")


@dataclass(frozen=True, slots=True)
class Try:
    """What the old owner does, and when: at the ``ordinal``-th time that it comes to ``moment``.

    It dies; or stands still for 3 s while another takes its name, which fences it at once; or stands still for half a
    second while another joins, which makes it commit inside the rebalance.
    """

    ending: Ending
    moment: str
    ordinal: int

    @property
    def fault(self) -> str:
        action = {"dies": "kill", "stands still": "pause:3", "gives way": "pause:0.5"}[self.ending]
        return f"{self.moment}:{self.ordinal}:{action}"


def tries(count: int, chance: random.Random) -> Iterator[Try]:
    """Yield ``count`` tries: each ending in turn, at any moment of one of the first commits."""
    for number in range(count):
        yield Try(ENDINGS[number % len(ENDINGS)], chance.choice(MOMENTS), chance.randrange(1, 4))


def take_over(driver: StateDriver, item: Try, first: int, chance: random.Random) -> list[str]:
    """Return what is wrong after one try, events ``first`` and on being its inputs."""
    old = driver.start("w0", item.fault, **SMALL)
    driver.wait(lambda: old.said("ready"), "the old owner")
    before = driver.committed()
    driver.spend(spent_events(EVENTS, chance, first=first))
    if item.ending == "dies":
        old.wait()
    elif item.ordinal > 1:
        driver.wait(lambda: driver.committed() > before, "a commit")
    new = driver.start("w1" if item.ending == "gives way" else "w0", **SMALL)
    driver.wait(lambda: new.said("ready"), "the new owner")
    wrong = driver.settle(10)
    for worker in (old, new):
        if worker.running:
            worker.stop()
    return [f"{item}: {sentence}" for sentence in wrong]


def run_tries(driver: StateDriver, count: int, seed: int) -> list[str]:
    """Return what is wrong after ``count`` tries on one app; the first that goes wrong ends it."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number, item in enumerate(tries(count, chance)):
        wrong = take_over(driver, item, number * EVENTS, chance)
        if wrong:
            return wrong
    return []


def main() -> int:
    """Run the tries; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=50)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brokers")
    given = parser.parse_args()
    with own_driver("counted", given.brokers, partitions=2) as driver:
        wrong = run_tries(driver, given.tries, given.seed)
        print("\n".join([*wrong, driver.logs()] if wrong else [f"{given.tries} tries, 0 stale keys"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
