"""Deaths and failures at every call that Kafka answers, and at every call of the recovery from each.

A point is a side of a call, by ordinal, and what happens there: the call fails, or the worker is killed. ``python -m
tests.integration.evidence.crash_pairs --app stored --journal FOLDER`` goes on until every point that a recovery passes
has struck in that recovery, or ``--seconds`` are over; with the same folder the next run goes on from there. Several
apps have their workers struck side by side, again and again, and each app is judged after ``BLOCK`` pairs. Pairs that
do not come about, since the recovery from the first point never passes the second, are counted when that recovery was
seen to its end without anything new.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final

from tests.integration.driving import WorkerProcess
from tests.integration.evidence.explored import Explored, PairOfPoints
from tests.integration.evidence.explorer import RECOVERED, STRUCK, Told
from tests.integration.evidence.points import POINTS, START
from tests.integration.evidence.struck_apps import APPS, Tested, tested_app
from tests.integration.evidence.trials import Evidence, broker_of, options
from tests.integration.waiting import WaitTooLong

__all__ = ["Tour", "Walk", "run_tour"]

BLOCK: Final = 60
"""After so many strikes an app is judged, and another begins."""
BARREN: Final = 20
"""After so many lives of a worker in which nothing new struck, its app is judged."""
INPUTS_A_COMMIT: Final = 20
"""No commit is of more."""
AHEAD: Final = 400
"""So many inputs are there beyond what commits can have taken."""
LASTING_S: Final = 1.3
"""A recovery takes so long at least: calls that are made once a second belong to it."""
_LOOKS_S = 5.0
_SILENT_S = 180.0


@dataclass(slots=True)
class Walk:
    """One app, and what has struck its workers."""

    tested: Tested
    explored: Explored
    file: Path
    seed: str
    pairs: list[PairOfPoints] = field(default_factory=list[PairOfPoints])
    last: int = START
    instance: str = "w0"
    _fruitless: int = 0
    _commits: int = 0

    def live(self) -> int:
        """Run a worker until it ends, struck or in order; return how often it was struck.

        Raises:
            AssertionError: it does not end, or not in either of these ways.
        """
        told = Told(str(self.file), self.last, self._fruitless, f"{self.seed}/{len(self.pairs)}", LASTING_S)
        self._feed()
        worker = self.tested.start(self.instance, str(told))
        self._await_end(worker)
        return self._take_in(worker)

    def _feed(self) -> None:
        while self.tested.fed < self._commits * INPUTS_A_COMMIT + AHEAD:
            self.tested.feed()

    def _await_end(self, worker: WorkerProcess) -> None:
        """Wait for the worker's end, as long as it has something to say; feed it when it has not."""
        said, since = 0, time.monotonic()
        while time.monotonic() - since < _SILENT_S:
            with suppress(WaitTooLong):
                worker.wait(_LOOKS_S)
                return
            size = worker.log.stat().st_size
            if size == said:
                self.tested.feed()
            else:
                said, since = size, time.monotonic()
        stood = worker.log.read_text()[-2000:]
        worker.kill()
        raise WaitTooLong(f"{self.history()}: {worker.log.name} stood still for {_SILENT_S:g} s\n{stood}")

    def _take_in(self, worker: WorkerProcess) -> int:
        """Learn from the worker's lines what has happened to it."""
        lines = worker.lines
        struck = [line.removeprefix(STRUCK).split() for line in lines if line.startswith(STRUCK)]
        for first, second, fruitless, _ in struck:
            self.pairs.append((int(first), int(second)))
            self.last, self._fruitless = int(second), int(fruitless)
        told = [line for line in lines if line.startswith((STRUCK, RECOVERED))]
        self._commits += int(told[-1].split()[-1]) if told else 0
        action = (
            POINTS[self.last - 1].action if self.last != START and told and told[-1].startswith(STRUCK) else "raise"
        )
        ended = worker.process.exitcode
        if ended != (0 if action == "raise" else -signal.SIGKILL):
            raise AssertionError(f"{self.history()}: {worker.log.name} ended with {ended}: {lines[-3:]}")
        if action == "leave":
            self.instance = "w1" if self.instance == "w0" else "w0"
        elif told and told[-1].startswith(RECOVERED):
            self._recover(whole=told[-1].split()[1] == "1")
        return len(struck)

    def _recover(self, *, whole: bool) -> None:
        """Begin anew after a recovery to the end; one that left nothing out makes its point complete."""
        if whole:
            self.explored.complete(self.last)
        self.last, self._fruitless = START, 0

    def history(self) -> str:
        """Say what has struck last."""
        return " > ".join(str(POINTS[second - 1]) for _, second in self.pairs[-4:]) or "nothing has struck"


@dataclass(slots=True)
class Tour:
    """Walks side by side, until nothing is left to strike, or time or tries are over."""

    app: str
    brokers: str
    folder: Path
    evidence: Evidence
    tries: int
    seconds: float
    explored: Explored = field(init=False)
    _began: float = field(default_factory=time.monotonic)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _blocks: int = 0
    _left: int = 0

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        self.explored = Explored.in_file(self._file)
        self.explored.forget_unjudged()
        self._left = self.tries

    @property
    def _file(self) -> Path:
        return self.folder / f"{self.app}.explored"

    @property
    def _journal(self) -> Path:
        return self.folder / f"{self.app}.blocks"

    def walk(self, number: int) -> None:
        """Have one app after the other struck, until it is over."""
        while not self._is_over():
            with self._lock:
                self._blocks += 1
                name = f"{self.evidence.seed}/{number}/{self._blocks}"
            with tested_app(self.app, self.brokers) as tested:
                self._go_through(Walk(tested, self.explored, self._file, name))

    def _is_over(self) -> bool:
        late = time.monotonic() - self._began > self.seconds
        return late or self._left <= 0 or not self.explored.open_points() or len(self.evidence.anomalies) > BARREN

    def _go_through(self, walk: Walk) -> None:
        began, barren = time.monotonic(), 0
        try:
            while len(walk.pairs) < BLOCK and barren < BARREN and not self._is_over():
                struck = walk.live()
                barren = 0 if struck else barren + 1
                with self._lock:
                    self._left -= struck
            struck_s = time.monotonic() - began
            wrong = walk.tested.findings()
        except AssertionError as error:
            struck_s, wrong = time.monotonic() - began, [f"{type(error).__name__}: {error}"]
        with self._lock:
            self._note(walk, struck_s, time.monotonic() - began, wrong)

    def _note(self, walk: Walk, struck_s: float, all_s: float, wrong: list[str]) -> None:
        self.explored.judge(walk.pairs)
        self.evidence.tries += len(walk.pairs)
        self.evidence.took("being struck", struck_s)
        self.evidence.took("being judged", all_s - struck_s)
        self.evidence.wrong([f"{walk.tested.driver.app} after {walk.history()}: {sentence}" for sentence in wrong])
        block = {"pairs": len(walk.pairs), "seconds": round(all_s, 1), "anomalies": wrong}
        with self._journal.open("a") as blocks:
            blocks.write(json.dumps(block) + "\n")
        done, left = self.explored.pairs(), len(self.explored.open_points())
        self.evidence.say(f"{done} pairs have struck; {left} of {len(self.explored.firsts())} points are not complete")

    def count(self) -> None:
        """Add to the evidence what was found in this run and those before."""
        blocks = [json.loads(line) for line in self._journal.read_text().splitlines()] if self._journal.exists() else []
        self.evidence.did.update(self.explored.counts())
        self.evidence.did["strikes in all runs"] = sum(block["pairs"] for block in blocks)
        self.evidence.did["anomalies in all runs"] = sum(len(block["anomalies"]) for block in blocks)
        self.evidence.say(f"never passed: {', '.join(self.explored.never_passed())}")


def run_tour(tour: Tour, jobs: int) -> None:
    """Walk with ``jobs`` apps at a time; count at the end."""
    with ThreadPoolExecutor(jobs) as pool:
        list(pool.map(tour.walk, range(jobs)))
    tour.count()


@contextmanager
def _journal(given: Path | None) -> Generator[Path]:
    if given is not None:
        yield given
        return
    with TemporaryDirectory() as folder:
        yield Path(folder)


def main() -> int:
    """Strike; return the exit code."""
    parser = options(__doc__, tries=1_000_000, takes_broker=True)
    parser.add_argument("--app", choices=sorted(APPS), default="stored")
    parser.add_argument("--jobs", type=int, default=8, help="apps at a time; they wait more than they work")
    parser.add_argument("--seconds", type=float, default=5_400.0, help="begin nothing new after this time")
    parser.add_argument("--journal", type=Path, help="the folder of what has struck, to go on with in another run")
    given = parser.parse_args()
    evidence = Evidence(f"crash pairs of {given.app}", given.seed)
    with broker_of(given) as brokers, _journal(given.journal) as folder:
        run_tour(Tour(given.app, brokers, folder, evidence, given.tries, given.seconds), given.jobs)
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
