"""Workers that are told to stop under load: what they processed is committed, and nothing is done twice.

``python -m tests.integration.evidence.drains --tries 50``. Every processed input leaves an output, a committed one or
not, with its owner's name: those of one owner end where its committed offset is, and those of the next begin there.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from tests.integration.driving import Driver
from tests.integration.evidence.owners import Answer, answers, verdict
from tests.integration.evidence.trials import SMALL, Evidence, Load, broker_of, chance_of, options, plain_driver
from tests.integration.waiting import wait_until

RATE = 3_000

Offsets = Mapping[tuple[str, int], int]


@dataclass(frozen=True, slots=True)
class Drain:
    """A worker that was told to stop: its process, and what was committed when it had ended."""

    pid: int
    committed: Offsets


def run_drains(driver: Driver, evidence: Evidence, tries: int) -> None:
    """Stop one worker after the other; judge all outputs at the end."""
    chance = chance_of(evidence.seed)
    drains: list[Drain] = []
    with Load(driver, RATE):
        for _ in range(tries):
            before = driver.committed()
            worker = driver.start("w0", **SMALL)
            wait_until(lambda before=before: driver.committed() > before, "a commit")
            time.sleep(chance.random())
            asked = time.monotonic()
            status = worker.stop()
            evidence.took("from SIGTERM to the end", time.monotonic() - asked)
            evidence.tries += 1
            if status:
                evidence.wrong([f"try {evidence.tries} ended with {status}: {worker.lines[-1:]}"])
            drains.append(Drain(worker.process.pid or 0, driver.committed_of(driver.written())))
    driver.start("w0", **SMALL)
    evidence.wrong(verdict(driver))
    evidence.wrong(overrun(drains, answers(driver, "read_uncommitted")))
    evidence.did["inputs"] = sum(driver.written().values())
    evidence.did["outputs, uncommitted ones included"] = len(answers(driver, "read_uncommitted"))


def overrun(drains: Sequence[Drain], found: Iterable[Answer]) -> list[str]:
    """Name where an owner went on beyond, or ended before, what was committed in its name."""
    last: dict[tuple[int, int], int] = {}
    for answer in found:
        place = int(answer.claimed.owner.split("/")[1]), answer.claimed.partition
        last[place] = max(last.get(place, -1), answer.claimed.offset)
    return [
        f"{topic}[{partition}]: {committed} is committed, {last[drain.pid, partition]} was processed last"
        for drain in drains
        for (topic, partition), committed in drain.committed.items()
        if (drain.pid, partition) in last and last[drain.pid, partition] + 1 != committed
    ]


def main() -> int:
    """Make the tries; return the exit code."""
    given = options(__doc__, tries=50, takes_broker=True).parse_args()
    evidence = Evidence("SIGTERM under load", given.seed)
    with broker_of(given) as brokers, plain_driver("claimed", brokers) as driver:
        run_drains(driver, evidence, given.tries)
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
