"""Every call of the engine that Kafka answers is a crash point: the worker dies before it, then after it."""

from __future__ import annotations

import signal

import pytest

from tests.integration.conftest import Drive
from tests.integration.crash_points import CALLS_WITHOUT_TABLES, EVENTS, deaths
from tests.integration.driving import events

pytestmark = pytest.mark.broker


@pytest.mark.parametrize("call", CALLS_WITHOUT_TABLES)
def test_a_worker_that_dies_before_and_after_a_call_leaves_no_anomaly(call: str, drive: Drive) -> None:
    driver = drive("monitored")
    for number, death in enumerate(deaths(call)):
        driver.produce(events(EVENTS, first=number * EVENTS))
        worker = driver.start(death.instance, death.fault, **death.settings)
        assert worker.wait() == -signal.SIGKILL, driver.logs()
    driver.close_windows()
    driver.start()
    driver.wait_for_inputs()
    report = driver.check()
    assert report.anomalies == 0, f"{report}\n{driver.logs()}"
    everything = report.committed - 10
    assert driver.drift_counts() == {"x": everything, "value": everything}
