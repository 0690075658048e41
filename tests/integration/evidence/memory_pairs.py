"""The same as ``crash_pairs`` without a broker: all pairs of crash points on the harness's Kafka, in a few minutes.

``python -m tests.integration.evidence.memory_pairs --store disk``. Events are sent to the unchanged engine until a
recovery is over; then it is stopped, and the next goes on with what it has left. In the end the outputs, dead letters
and changelogs are held against those of an app that nothing has struck. A worker that dies here leaves no thread,
session or open file behind, and nobody else takes over: what only these bring about is for ``crash_pairs``.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final, Literal, TypeAlias

from typing_extensions import override

from streamserve import App
from streamserve.kafka.calls import When
from streamserve.observer import Observer
from streamserve.records import Located
from streamserve.testing import Harness
from tests.integration.apps.state import Spent, spending
from tests.integration.evidence.explored import Explored, PairOfPoints
from tests.integration.evidence.explorer import Explorer, struck
from tests.integration.evidence.points import KILLS, POINTS, START, Action
from tests.integration.evidence.trials import Evidence, chance_of, options
from tests.integration.state_driving import spent_events

__all__ = ["MemoryWalk", "run_walk"]

Store: TypeAlias = Literal["memory", "disk"]
Outcome: TypeAlias = Mapping[str, Sequence[object]]
"""What stands in each topic and partition that is to be the same."""

ROUND: Final = 300
"""After so many strikes the outcome is judged."""
EVENTS: Final = 20
"""Are sent at a time, and worked off before the next."""
MOST_SENDS: Final = 20
"""Until a recovery has to be over."""
BARREN: Final = 60
"""After so many lives in a row that nothing struck, no way leads to what is left."""
PARTITIONS: Final = 2
LETTING_GO: Final = ("producer.abort_transaction", "consumer.close")
"""Calls of an incarnation's end: one that dies there has not closed its stores, as the end of a process would."""
ACTIONS: Final = frozenset[Action]({"raise", "kill"})


@dataclass(slots=True)
class MemoryWalk(Observer):
    """An app on a Kafka in memory, struck again and again, ``most`` times; its stores are in ``folder``."""

    store: Store
    folder: Path
    explored: Explored
    seed: int
    most: int = ROUND
    pairs: list[PairOfPoints] = field(default_factory=list[PairOfPoints])
    _sends: int = 0
    _harness: Harness | None = None
    _dead: bool = False
    _explorer: Explorer = field(init=False)

    def __post_init__(self) -> None:
        self._explorer = Explorer(self.explored, chance_of(self.seed), self._strike, lambda: None, ACTIONS)

    def __call__(self, name: str, when: When) -> None:
        """Pass a side of a call. Where a process is dead its code still runs to its end; that makes no calls."""
        if not self._dead and not self.is_over:
            self._explorer(name, when)

    @property
    def is_over(self) -> bool:
        """Return whether it has been struck often enough."""
        return len(self.pairs) >= self.most

    @override
    def entered(self, kind: str, name: str, at: Located | None = None) -> None:
        """Note that a worker starts."""
        del name, at
        if self._dead and kind == "start":
            self._dead = False
            if POINTS[self._explorer.last - 1].call in LETTING_GO:
                gc.unfreeze()
                gc.collect()

    def _strike(self, first: int, second: int) -> None:
        self.pairs.append((first, second))
        if POINTS[second - 1].action in KILLS and self._harness is not None:
            self._dead = True
            self._harness.kafka[1].die()
        struck(second)

    def live(self) -> int:
        """Let the app run until a recovery is over, and stop it; return how often it was struck."""
        before, explorer = len(self.pairs), self._explorer
        app, spent = spending(App("struck", state_dir=self.folder), self.store)
        self._harness = Harness(app, partitions=PARTITIONS, hook=self, observer=self, after=self._harness)
        with self._harness as harness:
            for _ in range(MOST_SENDS):
                harness.send(spent, *_events(self._sends))
                self._sends += 1
                harness.advance("1s")
                if explorer.recovered or self.is_over:
                    break
            so_far = len(self.pairs)
        if len(self.pairs) == so_far:  # nothing has struck it while it stopped
            if explorer.recovered and not explorer.left_out:
                self.explored.complete(explorer.last)
            explorer.recover_from(START)
        return len(self.pairs) - before

    def findings(self) -> list[str]:
        """Return where the outcome differs from that of an app that nothing has struck."""
        if self._harness is None:
            return []
        app, spent = spending(App("struck"), "memory")
        with Harness(app, partitions=PARTITIONS) as undisturbed:
            for number in range(self._sends):
                undisturbed.send(spent, *_events(number))
                undisturbed.advance("1s")
            expected = _outcome(undisturbed)
        found = _outcome(self._harness)
        return [f"{topic} differs" for topic in {**expected, **found} if found.get(topic) != expected.get(topic)]


def _events(number: int) -> Sequence[Spent]:
    return spent_events(EVENTS, chance_of(number), first=number * EVENTS)


def _outcome(harness: Harness) -> Outcome:
    """Return every output in its order, and what the changelogs of tables and windows come to."""
    outcome: dict[str, list[object]] = {}
    for name in ("out.struck", "owed.struck", "sums.struck", "visits.struck", "struck-dead-letters"):
        for message in harness.read_bytes(name):
            outcome.setdefault(f"{name}[{message.partition()}]", []).append((message.key(), message.value()))
    for name in ("chains", "owed", "sum", "day", "visit"):
        outcome[f"table {name}"] = [*sorted(harness.changelog(f"struck-{name}-changelog").items())]
    return outcome


def run_walk(walk: MemoryWalk, evidence: Evidence) -> None:
    """Strike until it is over, or all is struck; judge what has come of it."""
    barren = 0
    while not walk.is_over and walk.explored.open_points() and barren < BARREN:
        barren = 0 if walk.live() else barren + 1
    wrong = walk.findings()
    walk.explored.judge(walk.pairs)
    evidence.tries += len(walk.pairs)
    evidence.wrong(wrong)
    evidence.say(f"{walk.explored.pairs()} pairs; {len(walk.explored.open_points())} points are not complete")


def main() -> int:
    """Strike; return the exit code."""
    parser = options(__doc__, tries=1_000_000)
    parser.add_argument("--store", choices=("memory", "disk"), default="memory")
    given = parser.parse_args()
    evidence = Evidence(f"crash pairs on the harness, tables in {given.store}", given.seed)
    explored = Explored.in_memory()
    before = -1
    while before < evidence.tries < given.tries and explored.open_points() and not evidence.anomalies:
        before = evidence.tries
        with TemporaryDirectory() as folder:
            most = min(ROUND, given.tries - before)
            run_walk(MemoryWalk(given.store, Path(folder), explored, given.seed + before, most), evidence)
    evidence.did.update(explored.counts())
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
