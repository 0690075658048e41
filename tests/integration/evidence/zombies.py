"""Owners that are past and do not know it: stopped beyond their session, doubled, or robbed of a transactional id.

None of what they commit afterwards may count. ``python -m tests.integration.evidence.zombies --tries 100`` makes 100
tries of each kind; rounds of ten share an app, whose outputs are judged at the end of the round: by the delivery
checker, and by the owners that the outputs name.
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import TypeAlias

from confluent_kafka import KafkaException, Producer

from streamserve.kafka.clients import transactional_ids
from tests.integration.driving import Driver, WorkerProcess
from tests.integration.evidence.owners import verdict
from tests.integration.evidence.trials import SMALL, Evidence, Load, broker_of, chance_of, options, plain_driver
from tests.integration.evidence.workers import BOTH, ONE_OF_TWO, reaction, wait_for_inputs_so_far, worker_of, works_on
from tests.integration.waiting import wait_until

ROUND = 10
BORNE = 5
"""After so many tries another worker is robbed: who is fenced again and again within a minute gives up."""
SOME_TRANSACTIONS = 20 * int(SMALL["max_poll_records"])
"""When so many records are committed, all ids have been used, in turn: by then they are the worker's again. Its first
restart does not say so, for whoever asks for an id may be told to ask again, and fences the worker each time.
"""
RATE = 2_000
"""Events a second: transactions are open most of the time."""

Try: TypeAlias = Callable[[Driver, random.Random, Evidence], None]


def stopped(driver: Driver, chance: random.Random, evidence: Evidence) -> None:
    """Stop one of two workers until the other has committed all that was there; then let it go on."""
    workers = _two(driver)
    victim = chance.choice(sorted(workers))
    other = workers["w1" if victim == "w0" else "w0"]
    sleeper = workers[victim]
    taken_over = other.lines.count(BOTH)
    time.sleep(chance.random() * 0.3)
    _signal(sleeper, signal.SIGSTOP)
    try:
        wait_until(lambda: other.lines.count(BOTH) > taken_over, "the take-over")
        wait_for_inputs_so_far(driver)
    finally:
        _signal(sleeper, signal.SIGCONT)
    noted = len(sleeper.lines)
    wait_until(lambda: sleeper.lines[noted:].count("ready") > 0, "the sleeper's return")
    evidence.did[reaction(sleeper, noted)] += 1


def doubled(driver: Driver, chance: random.Random, evidence: Evidence) -> None:
    """Start another worker under the name of the one at work; one of the two has to give up."""
    first = _one(driver)
    time.sleep(chance.random() * 0.3)
    second = driver.start("w0", **SMALL)
    wait_until(lambda: not (first.running and second.running), "one of two that gives up")
    gone, left = (first, second) if second.running else (second, first)
    evidence.did["the first gave up" if gone is first else "the second gave up"] += 1
    if gone.wait() != 1 or not gone.said("another worker runs under the instance name 'w0'"):
        evidence.wrong([f"{gone.log.name} ended with {gone.wait()}: {gone.lines[-1:]}"])
    if not left.running:
        evidence.wrong([f"both workers gave up: {left.lines[-1:]}"])
        driver.start("w0", **SMALL)
    wait_for_inputs_so_far(driver)


def hijacked(driver: Driver, chance: random.Random, evidence: Evidence) -> None:
    """Take one of the worker's transactional ids, and write to its output; commit once the worker has it back."""
    if evidence.tries % BORNE == BORNE - 1:
        worker_of(driver, "w0", **SMALL).stop()
    worker = _one(driver)
    noted = len(worker.lines)
    thief = _thief(driver, chance.choice(transactional_ids(driver.app, "w0")))
    with suppress(KafkaException):  # the worker may be quicker
        thief.begin_transaction()
        thief.produce(driver.output, b'{"uid": -1, "user": "", "partition": 0, "offset": 0, "owner": "thief"}', b"")
        thief.flush(5)
    used = driver.committed() + SOME_TRANSACTIONS
    wait_until(lambda: driver.committed() >= used, "a worker that has its ids back")
    evidence.did[reaction(worker, noted)] += 1
    try:
        thief.commit_transaction(10)
    except KafkaException:
        return
    evidence.wrong(["whoever had taken a transactional id committed after the worker had it back"])


KINDS: Mapping[str, Try] = {"stopped": stopped, "doubled": doubled, "hijacked": hijacked}


def run_round(kind: str, brokers: str, tries: int, evidence: Evidence) -> None:
    """Make ``tries`` tries of a kind on a new app under load, and judge its outputs."""
    chance = chance_of(evidence.seed + evidence.tries)
    with plain_driver("claimed", brokers) as driver:
        try:
            with Load(driver, RATE):
                for _ in range(tries):
                    began = time.monotonic()
                    KINDS[kind](driver, chance, evidence)
                    evidence.tries += 1
                    evidence.took(kind, time.monotonic() - began)
            found = verdict(driver)
        except AssertionError as error:
            found = [f"{kind}, try {evidence.tries}: {error}\n{driver.logs()}"]
        evidence.wrong(found)


def _two(driver: Driver) -> Mapping[str, WorkerProcess]:
    """Return both workers, each with a share."""
    workers = {name: worker_of(driver, name, **SMALL) for name in ("w0", "w1")}
    wait_until(lambda: all(works_on(worker, *ONE_OF_TWO) for worker in workers.values()), "two workers with a share")
    return workers


def _one(driver: Driver) -> WorkerProcess:
    """Return the worker that runs, at work."""
    worker = worker_of(driver, "w0", **SMALL)
    wait_until(lambda: works_on(worker, BOTH), "a worker")
    wait_for_inputs_so_far(driver)
    return worker


def _thief(driver: Driver, transactional_id: str) -> Producer:
    thief = Producer({"bootstrap.servers": driver.brokers, "transactional.id": transactional_id, "log_level": 0})
    thief.init_transactions(30)
    return thief


def _signal(worker: WorkerProcess, number: int) -> None:
    os.kill(worker.process.pid or 0, number)


def main() -> int:
    """Make the tries; return the exit code."""
    parser = options(__doc__, tries=100, takes_broker=True)
    parser.add_argument("--kinds", nargs="*", default=list(KINDS), choices=list(KINDS))
    given = parser.parse_args()
    status = 0
    with broker_of(given) as brokers:
        for kind in given.kinds:
            evidence = Evidence(f"zombies: {kind}", given.seed)
            while evidence.tries < given.tries and len(evidence.anomalies) < ROUND:
                run_round(kind, brokers, min(ROUND, given.tries - evidence.tries), evidence)
                evidence.say(f"{kind}: {evidence.tries} tries, {len(evidence.anomalies)} anomalies")
            status |= evidence.conclude()
    return status


if __name__ == "__main__":
    sys.exit(main())
