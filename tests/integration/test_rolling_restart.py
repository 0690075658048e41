"""Workers stopped and started one after the other, as a new release does it: nobody waits for a time-out."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager

import pytest

from streamserve.testing.checks import read_topic
from tests.canaries import KAFKA_SECRET
from tests.integration.conftest import Drive
from tests.integration.driving import SPAWNED, Driver, events
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

WORKERS = 3
SESSION = "240s"
LONGEST_S = 90.0
"""However slow the machine is, what it does by itself takes less than what waits for a time-out."""
OFTEN = json.dumps({**KAFKA_SECRET, "heartbeat.interval.ms": "1500"})
"""By default every 3 s."""


def test_a_rolling_restart_lets_no_event_wait_for_a_time_out(drive: Drive) -> None:
    driver = drive("echo", partitions=2 * WORKERS)
    driver.processes = SPAWNED  # a new process imports everything itself
    for number in range(WORKERS):
        start(driver, number)
    with feeding(driver):
        for number in range(WORKERS):
            assert driver.workers[number].stop() == 0
            start(driver, number)
    driver.wait_for_inputs()
    report = driver.check()
    assert report.anomalies == 0, report
    waits = waited(driver)
    print(f"{len(waits)} events; the longest waited {max(waits):.2f} s")
    assert max(waits) < LONGEST_S


def start(driver: Driver, number: int) -> None:
    time_outs = {"session_timeout": SESSION, "transaction_timeout": SESSION, "kafka": OFTEN}
    worker = driver.start(f"w{number}", **time_outs)
    wait_until(lambda: "ready" in worker.lines, f"worker {number}")


@contextmanager
def feeding(driver: Driver) -> Generator[None]:
    """Write ten events every 50 ms while the block runs."""
    done = threading.Event()

    def feed() -> None:
        first = 0
        while not done.wait(0.05):
            driver.produce(events(10, first=first))
            first += 10

    thread = threading.Thread(target=feed)
    thread.start()
    time.sleep(1)
    try:
        yield
        time.sleep(1)
    finally:
        done.set()
        thread.join()


def waited(driver: Driver) -> list[float]:
    """Return how long each event waited for its answer, in seconds, from when it was written to when that was."""
    asked = {_uid(record.value): record.timestamp_ms for record in read_topic(driver.brokers, driver.inputs[0])}
    return [
        (record.timestamp_ms - asked[_uid(record.value)]) / 1000 for record in read_topic(driver.brokers, driver.output)
    ]


def _uid(value: bytes | None) -> int:
    return int(json.loads(value or b"{}")["uid"])
