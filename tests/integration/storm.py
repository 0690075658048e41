"""A storm: workers are killed, at any moment and in the midst of commits, and the app is scaled out and in.

``python -m tests.integration.storm --kills 20 --scales 2,3,1,3,1 --events 100000`` is the long version of the test.
"""

from __future__ import annotations

import argparse
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from tests.integration.driving import WorkerProcess
from tests.integration.state_driving import PATIENT, SMALL, STEP_MS, StateDriver, own_driver, random_fault, spent_events

SESSION_S = 7.0
"""Longer than the workers' session: what a dead one owned has gone to others by then."""


@dataclass(slots=True)
class Storm:
    """Strikes the workers of ``driver``, by instance name, while it feeds them."""

    driver: StateDriver
    chance: random.Random
    workers: dict[str, WorkerProcess] = field(default_factory=dict[str, WorkerProcess])
    doomed: set[str] = field(default_factory=set[str])
    kills: int = 0

    def start(self, instance: str) -> None:
        """Start a worker; half of them will die by themselves."""
        fault = random_fault(self.chance) if self.chance.random() < 0.5 else ""
        self.doomed.discard(instance)
        if fault:
            self.doomed.add(instance)
        self.workers[instance] = self.driver.start(instance, fault, **SMALL, **PATIENT)

    def kill(self) -> None:
        """Let one worker die; it comes back at once, or after others have taken over."""
        instance = self.chance.choice(sorted(self.workers))
        worker = self.workers[instance]
        if instance in self.doomed:
            worker.process.join(3.0)
        worker.kill()
        self.kills += 1
        if len(self.workers) > 1 and self.chance.random() < 0.3:
            time.sleep(SESSION_S)
        self.start(instance)

    def revive(self) -> None:
        """Start again what has died by itself."""
        for instance, worker in list(self.workers.items()):
            if not worker.running:
                self.kills += 1
                self.start(instance)

    def wait_for_progress(self, before: int) -> None:
        """Wait until more than ``before`` records are committed, whoever dies on the way."""

        def progressed() -> bool:
            self.revive()
            return self.driver.committed() > before

        self.driver.wait(progressed, "a commit")

    def scale(self, count: int) -> None:
        """Have ``count`` workers; those that go are asked to."""
        for number in range(len(self.workers), count):
            self.start(f"w{number}")
            self.driver.wait(lambda name=f"w{number}": self._has_share(name), f"a share for w{number}")
        for number in range(count, len(self.workers)):
            self.workers.pop(f"w{number}").stop()

    def _has_share(self, instance: str) -> bool:
        return self.workers[instance].said("assigned: [") or not self.workers[instance].running


def run_storm(driver: StateDriver, *, events: int, kills: int, scales: Sequence[int], seed: int) -> list[str]:
    """Let ``driver``'s app go through it all, and return what is wrong afterwards."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    strikes: list[int] = [0] * kills
    for place, count in enumerate(scales):
        strikes.insert(1 + place * (kills + len(scales)) // len(scales), count)
    feed = spent_events(events, chance)
    share = -(-events // (len(strikes) + 1))
    storm = Storm(driver, chance)
    storm.scale(1)
    for number, strike in enumerate(strikes):
        storm.revive()  # settles what the dead have left open: the next line would wait for that
        before = driver.committed()
        driver.spend(feed[number * share : (number + 1) * share])
        storm.wait_for_progress(before)
        time.sleep(chance.random() * 0.5)
        if strike:
            storm.scale(strike)
        else:
            storm.kill()
    driver.spend(feed[len(strikes) * share :])
    driver.move_time(events * STEP_MS / 1000 + 3600)

    def done() -> bool:
        storm.revive()
        return driver.behind() <= driver.partitions

    driver.wait(done, "all inputs committed", 120)
    return driver.settle()


def main() -> int:
    """Run a storm; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--scales", default="2,3,1,3,1")
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--partitions", type=int, default=4)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--brokers")
    given = parser.parse_args()
    scales = [int(count) for count in given.scales.split(",")]
    with own_driver("windowed", given.brokers, given.partitions) as driver:
        began = time.monotonic()
        wrong = run_storm(driver, events=given.events, kills=given.kills, scales=scales, seed=given.seed)
        print(f"{time.monotonic() - began:.0f} s")
        print("\n".join([*wrong, driver.logs()] if wrong else ["0 anomalies"]))
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
