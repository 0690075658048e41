"""A partition with little state is processed while another's changelog is still read, and nothing goes wrong in it."""

from __future__ import annotations

import random
import signal
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import pytest
from confluent_kafka import Producer

from streamserve.testing.checks import committed_offsets, end_offsets
from tests.integration.driving import WorkerProcess
from tests.integration.state_driving import SMALL, StateDriver, spent_events

pytestmark = pytest.mark.broker

EVENTS = 300
BALLAST = 100_000
"""Deletions of keys that never were: they change nothing, but have to be read. There are more than the client fetches
ahead, behind which the end of the short changelog would stand."""


@pytest.fixture
def driver(brokers: str, topic_name: str, tmp_path: Path) -> Generator[StateDriver]:
    """An app that has processed some events, and whose changelog is long in partition 1."""
    driver = StateDriver(brokers, topic_name[-30:].lstrip("-"), "counted", tmp_path, partitions=2)
    driver.create()
    spend(driver, 0)
    first = driver.start("w0")
    driver.wait(lambda: driver.behind() == 0, "the first events")
    assert first.stop() == 0
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5, "queue.buffering.max.messages": 2 * BALLAST})
    for number in range(BALLAST):
        producer.produce(f"{driver.app}-chains-changelog", None, b"ballast-%d" % number, 1)
    assert producer.flush(60) == 0
    yield driver
    driver.close()


@contextmanager
def held(driver: StateDriver) -> Generator[None]:
    """Let nobody read the long changelog to its end inside the block: a stranger's transaction is open there."""
    stranger = Producer(
        {
            "bootstrap.servers": driver.brokers,
            "transactional.id": f"{driver.app}-stranger",
            "transaction.timeout.ms": 600_000,
        }
    )
    stranger.init_transactions(60)
    stranger.begin_transaction()
    stranger.produce(f"{driver.app}-chains-changelog", None, b"ballast-last", 1)
    assert stranger.flush(60) == 0
    yield
    stranger.commit_transaction(60)


def spend(driver: StateDriver, chunk: int) -> None:
    driver.spend(spent_events(EVENTS, random.Random(chunk), first=chunk * EVENTS))  # noqa: S311 - no secret


def left(driver: StateDriver, partition: int) -> int:
    """Return how many inputs of a partition are not committed."""
    place = (f"in.{driver.app}", partition)
    ends = end_offsets(driver.brokers, [place[0]])
    return ends[place] - committed_offsets(driver.brokers, driver.app, [place[0]]).get(place, 0)


def restores_one(driver: StateDriver, worker: WorkerProcess) -> bool:
    """Return whether partition 0 is read while partition 1 is still restored, as far as the worker has told."""
    return worker.lines[-1:] == [f"waiting: restoring in_{driver.app}[1]"]


def test_a_partition_with_a_short_changelog_commits_while_a_long_one_is_read(driver: StateDriver) -> None:
    spend(driver, 1)
    before = left(driver, 1)
    with held(driver):
        worker = driver.start("w0", **SMALL)
        driver.wait(lambda: left(driver, 0) == 0, "the partition with the short changelog")
        assert restores_one(driver, worker), driver.logs()
        assert left(driver, 1) == before > 0
    assert driver.settle() == []
    assert worker.lines[-1] == "ready"
    assert worker.stop() == 0


def test_deaths_aborts_and_rebalances_meanwhile_spoil_neither_partition(driver: StateDriver) -> None:
    spend(driver, 1)
    with held(driver):
        for chunk, fault in enumerate(
            ("producer.send_offsets:after:3:kill", "producer.commit_transaction:after:2:kill"), 2
        ):
            doomed = driver.start("w0", fault, **SMALL)
            assert doomed.wait() == -signal.SIGKILL
            assert restores_one(driver, doomed), driver.logs()
            spend(driver, chunk)
        first = driver.start("w0", "producer.flush:after:3:raise", **SMALL)
        driver.wait(lambda: first.said("TransactionAborted"), "the abort")
        assert not first.said("ready"), driver.logs()
        driver.wait(lambda: restores_one(driver, first), "the short changelog again")
        second = driver.start("w1", **SMALL)
        driver.wait(lambda: second.said("assigned: [1]"), "a share for the second")
        spend(driver, 4)
        assert second.stop() == 0
        driver.wait(lambda: first.lines.count("assigned: [0, 1]") >= 3, "all for the first again")
        spend(driver, 5)
    assert driver.settle() == []
    assert first.stop() == 0
