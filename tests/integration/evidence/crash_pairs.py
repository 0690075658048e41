"""Deaths and failures at every call that Kafka answers, each followed by another in the recovery from it.

A point is a side of a call, by ordinal, and what happens there: the worker is killed, or the call fails. ``python -m
tests.integration.evidence.crash_pairs --app stored`` goes through pairs of points, in apps that twenty pairs share and
that are judged at the end of each twenty. All first points come before the first of them comes again, so that any
stretch of the list (``--from``, ``--tries``) is spread over all. A second point that the recovery does not pass is no
part of it: such pairs are counted apart.
"""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

from tests.integration.driving import Driver, WorkerProcess, events
from tests.integration.evidence.points import Life, Pair, lives, pairs, points, written
from tests.integration.evidence.trials import Evidence, broker_of, chance_of, options, plain_driver
from tests.integration.relay import STRUCK
from tests.integration.state_driving import PATIENT, StateDriver, own_driver, spent_events
from tests.integration.waiting import WaitTooLong

BLOCK = 20
EVENTS = 240
"""For each life; more are written when it has no more."""
SETTINGS = {"max_poll_records": "20", "commit_interval": "1ms", "session_timeout": "2s", **PATIENT}
_WAITS_S = 4.0
_LIFE_S = 60.0


class Tested(Protocol):
    """An app under test."""

    @property
    def driver(self) -> Driver:
        """Return what drives it."""
        ...

    def feed(self) -> None:
        """Write more inputs."""
        ...

    def findings(self) -> list[str]:
        """Let a worker go on to the end; return what is wrong then."""
        ...


@dataclass(slots=True)
class Plain:
    """The app ``monitored``: features, a model, drift statistics."""

    driver: Driver
    fed: int = 0

    def feed(self) -> None:
        self.driver.produce(events(EVENTS, first=self.fed))
        self.fed += EVENTS

    def findings(self) -> list[str]:
        self.driver.close_windows()
        self.driver.start("w0", **SETTINGS)
        self.driver.wait_for_inputs(120)
        report = self.driver.check()
        wrong = [text for texts in report.examples.values() for text in texts]
        counts, expected = self.driver.drift_counts(), {"x": self.fed, "value": self.fed}
        return wrong if counts == expected else [*wrong, f"drift statistics count {counts}, not {expected}"]


@dataclass(slots=True)
class Stateful:
    """The app ``stored``: tables on disk, windows, a regrouped topic, timers."""

    driver: StateDriver
    fed: int = 0

    def feed(self) -> None:
        self.driver.spend(spent_events(EVENTS, chance_of(self.fed), first=self.fed))
        self.fed += EVENTS

    def findings(self) -> list[str]:
        self.driver.move_time(self.fed)
        self.driver.start("w0", **SETTINGS, state_dir=str(self.driver.folder / "state"))
        return self.driver.settle()


@dataclass(slots=True)
class Tour:
    """Goes through pairs, and keeps which points were struck, and which pairs."""

    evidence: Evidence
    struck: set[str] = field(default_factory=set[str])
    missed: set[str] = field(default_factory=set[str])
    lock: threading.Lock = field(default_factory=threading.Lock)

    def go_through(self, tested: Tested, block: Sequence[Pair]) -> None:
        """Let the pairs of a block strike one after the other, and judge what came of it."""
        try:
            for pair in block:
                self._strike(tested, pair)
            wrong = tested.findings()
        except AssertionError as error:
            wrong = [str(error)]
        with self.lock:
            self.evidence.wrong([f"pairs {block[0].number} to {block[-1].number}: {sentence}" for sentence in wrong])
            self.evidence.say(f"pairs {block[0].number} to {block[-1].number}")

    def _strike(self, tested: Tested, pair: Pair) -> None:
        places: set[int | None] = set()
        wrong: list[str] = []
        for life in lives(pair):
            worker = _live(tested, life)
            struck = [int(line.removeprefix(STRUCK)) for line in worker.lines if line.startswith(STRUCK)]
            places.update(life.places[number] for number in struck)
            if worker.process.exitcode not in (0, -signal.SIGKILL):
                wrong.append(f"{pair}: a worker ended with {worker.process.exitcode}: {worker.lines[-3:]}")
        both = {place: written(point) for place, point in enumerate((pair.first, pair.second))}
        passed = {point for place, point in both.items() if place in places}
        with self.lock:
            self.struck |= passed
            self.missed |= {*both.values()} - passed
            self.evidence.tries += 1
            self.evidence.did[_came_about(places)] += 1
            self.evidence.wrong(wrong)


def _came_about(places: AbstractSet[int | None]) -> str:
    if 0 not in places:
        return "first not passed"
    return "both struck" if 1 in places else "second not passed"


def _live(tested: Tested, life: Life) -> WorkerProcess:
    """Run a worker until it ends, with inputs enough to come to its faults."""
    driver = tested.driver
    tested.feed()
    disk = {"state_dir": str(driver.folder / "state")} if driver.topology == "stored" else {}
    worker = driver.start(life.instance, life.fault, **SETTINGS, **disk)
    for _ in range(int(_LIFE_S / _WAITS_S)):
        with suppress(WaitTooLong):
            worker.wait(_WAITS_S)
            return worker
        tested.feed()
    stood = worker.log.read_text()[-2000:]
    worker.kill()
    raise AssertionError(f"{life.fault} as {life.instance}: the worker did not end within {_LIFE_S:g} s\n{stood}")


def run_blocks(app: str, brokers: str, blocks: Sequence[Sequence[Pair]], jobs: int, evidence: Evidence) -> Tour:
    """Go through all blocks, ``jobs`` at a time."""
    tour = Tour(evidence)

    def run(block: Sequence[Pair]) -> None:
        if app == "stored":
            with own_driver(app, brokers, 2) as driver:
                tour.go_through(Stateful(driver), block)
        else:
            with plain_driver(app, brokers) as driver:
                tour.go_through(Plain(driver), block)

    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(run, blocks))
    evidence.did["points struck"] = len(tour.struck)
    evidence.say(f"not passed where their turn came, nor anywhere else: {sorted(tour.missed - tour.struck)}")
    return tour


def main() -> int:
    """Go through pairs; return the exit code."""
    parser = options(__doc__, tries=400)
    parser.add_argument("--app", choices=("monitored", "stored"), default="stored")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the number of the first pair")
    parser.add_argument("--jobs", type=int, default=2, help="apps at a time")
    parser.add_argument("--ordinals", type=int, default=3, help="of first points")
    parser.add_argument("--second-ordinals", type=int, default=1, help="of points in the recovery")
    given = parser.parse_args()
    everything = list(pairs(given.ordinals, given.second_ordinals, given.seed))
    chosen = everything[given.first : given.first + given.tries]
    evidence = Evidence(f"crash pairs of {given.app} from {given.first} on, of {len(everything)}", given.seed)
    blocks = [chosen[at : at + BLOCK] for at in range(0, len(chosen), BLOCK)]
    with broker_of(given) as brokers:
        run_blocks(given.app, brokers, blocks, given.jobs, evidence)
    evidence.did["points"] = len(points(given.ordinals))
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
