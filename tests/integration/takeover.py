"""The restore race: a worker is stopped or dies in the midst of a commit, and another takes over at once.

Its offsets were accepted while the records of its changelog were still on their way; whoever restores then must see
all of them or nothing. ``python -m tests.integration.takeover --tries 50`` is the long version of the test.
"""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Iterator

from tests.integration.state_driving import StateDriver, own_driver
from tests.integration.takeover_endings import ENDINGS, EVENTS, Try
from tests.integration.takeover_queued import Queued
from tests.integration.takeover_switched import Switched


def tries(count: int, chance: random.Random) -> Iterator[Try]:
    """Yield ``count`` tries, each ending in turn: by a proxy, then by the fault switch."""
    for number in range(count):
        kind = Switched if number // len(ENDINGS) % 2 else Queued
        yield kind.chosen(ENDINGS[number % len(ENDINGS)], chance)


def run_tries(driver: StateDriver, count: int, seed: int) -> list[str]:
    """Return what is wrong after ``count`` tries on one app; the first that goes wrong ends it."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    for number, item in enumerate(tries(count, chance)):
        wrong = item.take_over(driver, number * EVENTS, seed + number)
        if wrong:
            return [f"{item}: {sentence}" for sentence in wrong]
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
        held = sum(isinstance(item, Queued) for item in tries(given.tries, random.Random()))  # noqa: S311 - no secret
        passed = f"{given.tries} tries, {held} of them with the changelog held on the wire: 0 stale keys"
        print("\n".join([*wrong, driver.logs()] if wrong else [passed]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
