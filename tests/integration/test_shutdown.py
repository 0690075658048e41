"""SIGTERM drains: what was processed is committed, and the next worker begins behind it."""

from __future__ import annotations

import time

import pytest

from streamserve.testing.checks import read_topic
from tests.integration.conftest import Drive
from tests.integration.driving import events
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker


SESSION, OWN_TIME_S = "240s", 90.0
"""However slow the machine is, what it does by itself takes less than what waits for a time-out."""


def test_a_worker_that_is_stopped_under_load_leaves_nothing_to_do_twice(drive: Drive) -> None:
    """Nothing is aborted: what a ``read_uncommitted`` reader sees is what is committed."""
    driver = drive("echo")
    driver.produce(events(60_000))
    worker = driver.start(max_poll_records="100")
    wait_until(lambda: driver.committed() > 0, "the first commit")
    assert worker.stop() == 0
    committed = driver.committed()
    assert 0 < committed < 60_000
    assert len(read_topic(driver.brokers, driver.output, isolation="read_uncommitted")) == committed
    driver.start()
    driver.wait_for_inputs()
    report = driver.check()
    assert (report.anomalies, report.committed) == (0, 60_000), driver.logs()
    assert len(read_topic(driver.brokers, driver.output, isolation="read_uncommitted")) == 60_000


def test_an_idle_worker_stops_at_once_and_quietly(drive: Drive) -> None:
    driver = drive("monitored")
    worker = driver.start(session_timeout=SESSION, transaction_timeout=SESSION, shutdown_timeout=SESSION)
    wait_until(lambda: worker.said("ready"), "readiness")
    asked = time.monotonic()
    assert worker.stop() == 0
    assert time.monotonic() - asked < OWN_TIME_S
    assert worker.lines[-1] == "ready"


def test_a_restarted_worker_has_its_partitions_back_at_once(drive: Drive) -> None:
    driver = drive("echo")
    driver.produce(events(100))
    worker = driver.start(session_timeout=SESSION)
    driver.wait_for_inputs()
    worker.kill()
    driver.produce(events(100, first=100))
    driver.start(session_timeout=SESSION)
    driver.wait_for_inputs(OWN_TIME_S)
    assert driver.check().anomalies == 0
