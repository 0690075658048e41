"""How long it takes from SIGKILL to the first commit on a dead worker's partitions, as their readers see it.

``python -m tests.integration.evidence.comebacks --tries 30``. Under load, with a ``read_committed`` reader on the
output; the dead worker is started again at once, in a new Python process that imports everything anew, or its
partitions go to another worker when the session has ended.
"""

from __future__ import annotations

import random
import sys
import time
from collections.abc import Generator, Iterable
from contextlib import contextmanager

import msgspec
from confluent_kafka import Consumer, TopicPartition

from tests.integration.apps.claimed import Claimed
from tests.integration.driving import FORKS, SPAWNED, Driver, WorkerProcess
from tests.integration.evidence.owners import verdict
from tests.integration.evidence.trials import Evidence, Load, broker_of, chance_of, options, plain_driver
from tests.integration.evidence.workers import BOTH, ONE_OF_TWO, share_of, worker_of, works_on
from tests.integration.waiting import PATIENCE_S, WaitTooLong, wait_until

RATE = 1_000
SESSION_S = 6
SETTINGS = {"session_timeout": f"{SESSION_S}s", "commit_interval": "100ms"}


class Reader:
    """Sees what becomes visible in the output of ``driver``, by partition of the input."""

    def __init__(self, driver: Driver) -> None:
        self._last: dict[int, int] = {}
        self._consumer = Consumer(
            {
                "bootstrap.servers": driver.brokers,
                "group.id": "comebacks",
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.queue.backoff.ms": 5,
            }
        )
        self._consumer.assign([TopicPartition(driver.output, number, 0) for number in range(driver.partitions)])

    def until_others_answer(self, dead: int, partitions: Iterable[int]) -> None:
        """Return when each of ``partitions`` has an answer of another process behind those of ``dead``."""
        left = set(partitions)
        give_up = time.monotonic() + PATIENCE_S
        while left:
            for message in self._consumer.consume(1000, 0.01):
                if message.error() is None:
                    answer = msgspec.json.decode(message.value() or b"", type=Claimed)
                    process = int(answer.owner.split("/")[1])
                    if process != dead and self._last.get(answer.partition) == dead:
                        left.discard(answer.partition)
                    self._last[answer.partition] = process
            if time.monotonic() > give_up:
                raise WaitTooLong(f"partitions {left} have no answer after {PATIENCE_S:g} s")

    def close(self) -> None:
        """Let go of the client."""
        self._consumer.close()


@contextmanager
def reader_of(driver: Driver) -> Generator[Reader]:
    """Give a reader."""
    reader = Reader(driver)
    try:
        yield reader
    finally:
        reader.close()


def same_instance(driver: Driver, reader: Reader, chance: random.Random) -> float:
    """Kill the only worker and start it again at once; return the seconds until both partitions go on."""
    worker = worker_of(driver, "w0", **SETTINGS)
    wait_until(lambda: works_on(worker, BOTH), "a worker")
    time.sleep(1 + chance.random() * 0.3)
    killed = _kill(worker)
    driver.processes = SPAWNED
    driver.start("w0", **SETTINGS)
    reader.until_others_answer(worker.process.pid or 0, {0, 1})
    return time.monotonic() - killed


def another_worker(driver: Driver, reader: Reader, chance: random.Random) -> float:
    """Kill one of two workers; return the seconds until its partition goes on."""
    driver.processes = FORKS
    workers = [worker_of(driver, name, **SETTINGS) for name in ("w0", "w1")]
    wait_until(lambda: all(works_on(worker, *ONE_OF_TWO) for worker in workers), "two workers with a partition each")
    victim = chance.choice(workers)
    share = ONE_OF_TWO.index(share_of(victim))
    time.sleep(1 + chance.random() * 0.3)
    killed = _kill(victim)
    reader.until_others_answer(victim.process.pid or 0, {share})
    return time.monotonic() - killed


def _kill(worker: WorkerProcess) -> float:
    killed = time.monotonic()
    worker.kill()
    return killed


def run_comebacks(driver: Driver, evidence: Evidence, tries: int) -> None:
    """Measure both ways, and judge the outputs at the end."""
    chance = chance_of(evidence.seed)
    with Load(driver, RATE), reader_of(driver) as reader:
        for way in (same_instance, another_worker):
            for _ in range(tries):
                seconds = way(driver, reader, chance)
                evidence.took(way.__name__, seconds)
                evidence.tries += 1
                evidence.say(f"{way.__name__}: {seconds:.1f} s")
    evidence.wrong(verdict(driver))


def main() -> int:
    """Measure; return the exit code."""
    given = options(__doc__, tries=30, takes_broker=True).parse_args()
    evidence = Evidence(f"from SIGKILL to the first commit, session timeout {SESSION_S} s", given.seed)
    with broker_of(given) as brokers, plain_driver("claimed", brokers) as driver:
        run_comebacks(driver, evidence, given.tries)
    return evidence.conclude()


if __name__ == "__main__":
    sys.exit(main())
