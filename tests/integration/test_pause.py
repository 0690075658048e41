"""Pause, resume and status of an app whose workers run, come, go and die on a real Kafka."""

from __future__ import annotations

import time

import pytest

from streamserve.ops.control import pause, resume, run_state, status
from streamserve.settings import load_settings
from tests.integration.conftest import Drive
from tests.integration.driving import events
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

QUIET_S = 2.0
"""Nothing is committed in so long a time: nothing is."""


def test_a_paused_app_rests_whoever_comes_and_dies_and_then_goes_on(drive: Drive) -> None:
    driver = drive("echo")
    settings = load_settings({}, {"bootstrap_servers": driver.brokers})
    first = driver.start("w0")
    driver.produce(events(500))
    driver.wait_for_inputs()

    assert pause(driver.app, settings, reason="a trial").paused
    wait_until(lambda: first.said("waiting: paused since"), "the pause")
    driver.produce(events(500, first=500))
    driver.start("w1")
    wait_until(lambda: driver.workers[1].said("waiting: paused since"), "a newcomer that rests as well")
    driver.workers[1].kill()
    driver.start("w1")
    wait_until(lambda: driver.workers[2].said("waiting: paused since"), "another newcomer")
    time.sleep(QUIET_S)
    assert driver.committed() < 510
    found = status(driver.app, settings)
    assert (found.state.paused, found.state.reason, found.members) == (True, "a trial", ["w0", "w1"])

    resume(driver.app, settings)
    assert not run_state(driver.app, settings).paused
    driver.wait_for_inputs()
    report = driver.check()
    assert (report.anomalies, report.committed) == (0, 1000), report
