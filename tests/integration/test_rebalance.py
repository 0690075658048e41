"""Partitions move between live, stopped, paused and dead workers, and every input still has one outcome."""

from __future__ import annotations

import os
import signal
import time

import pytest

from tests.integration.conftest import Drive
from tests.integration.driving import Driver, events
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

SMALL = {"max_poll_records": "50", "commit_interval": "1ms"}
CHUNK = 3_000


def feed(driver: Driver, chunk: int) -> int:
    """Write the next chunk of events and return how many there are so far."""
    driver.produce(events(CHUNK, first=chunk * CHUNK))
    return (chunk + 1) * CHUNK


def assert_state_and_outcomes(driver: Driver, inputs: int) -> None:
    report = driver.check()
    assert report.anomalies == 0, f"{report}\n{driver.logs()}"
    assert driver.drift_counts() == {"x": inputs, "value": inputs}


def test_scaling_out_and_in_under_load_leaves_no_anomaly(drive: Drive) -> None:
    driver = drive("monitored", partitions=4)
    feed(driver, 0)
    first = driver.start("w0", **SMALL)
    wait_until(lambda: driver.committed() > 0, "the first commit")
    feed(driver, 1)
    second = driver.start("w1", **SMALL)
    wait_until(lambda: second.said("assigned: [2, 3]"), "the second worker's share")
    inputs = feed(driver, 2)
    wait_until(lambda: driver.behind() < CHUNK, "work by both")
    assert second.stop() == 0
    inputs = feed(driver, 3)
    driver.close_windows()
    driver.wait_for_inputs()
    assert first.running
    assert first.lines.count("assigned: [0, 1, 2, 3]") >= 2, driver.logs()
    assert_state_and_outcomes(driver, inputs)


def test_the_partitions_of_a_worker_that_died_with_an_open_transaction_go_on_elsewhere(drive: Drive) -> None:
    """The survivor fences the dead one's transactional ids: it waits for the session, not for the transaction."""
    driver = drive("monitored", partitions=4)
    survivor = driver.start("w0", **SMALL)
    wait_until(lambda: survivor.said("ready"), "the survivor")
    doomed = driver.start("w1", "producer.send_offsets:after:4:kill", transaction_timeout="300s", **SMALL)
    wait_until(lambda: doomed.said("ready"), "the doomed one")
    inputs = feed(driver, 0)
    driver.close_windows()
    assert doomed.wait() == -signal.SIGKILL
    driver.wait_for_inputs(120)  # the session ends after 6 s, the transaction would after 300
    assert survivor.running
    assert_state_and_outcomes(driver, inputs)


def test_a_worker_that_was_paused_beyond_its_session_commits_nothing_afterwards(drive: Drive) -> None:
    driver = drive("monitored", partitions=2)
    sleeper = driver.start("w0", "producer.send_offsets:before:3:pause:9", **SMALL)
    wait_until(lambda: sleeper.said("ready"), "the sleeper")
    inputs = feed(driver, 0)
    driver.close_windows()
    wait_until(lambda: driver.committed() > 0, "the first commit")
    pid = sleeper.process.pid or 0
    os.kill(pid, signal.SIGSTOP)
    try:
        other = driver.start("w1", **SMALL)
        wait_until(lambda: other.said("assigned: [0, 1]"), "the take-over")
        driver.wait_for_inputs()
    finally:
        os.kill(pid, signal.SIGCONT)
    wait_until(lambda: sleeper.lines.count("ready") >= 2, "the sleeper's return")
    assert_state_and_outcomes(driver, inputs)


def test_a_second_worker_of_the_same_name_is_told_apart(drive: Drive) -> None:
    driver = drive("echo")
    first = driver.start("w0")
    wait_until(lambda: first.said("ready"), "the first worker")
    second = driver.start("w0")
    assert first.wait() == 1
    assert first.said("another worker runs under the instance name 'w0'"), driver.logs()
    driver.produce(events(100))
    driver.wait_for_inputs()
    assert second.running
    assert driver.check().anomalies == 0


def test_rebalances_that_come_close_together_leave_no_anomaly(drive: Drive) -> None:
    driver = drive("monitored", partitions=4)
    inputs = 0
    for chunk in range(3):
        inputs = feed(driver, chunk)
        workers = [driver.start(f"w{number}", **SMALL) for number in range(3)]
        time.sleep(1.0 + chunk / 2)
        for worker in workers[: chunk + 1]:
            worker.kill()
        for worker in workers[chunk + 1 :]:
            assert worker.stop() == 0
    driver.close_windows()
    driver.start("w0")
    driver.wait_for_inputs()
    assert_state_and_outcomes(driver, inputs)
