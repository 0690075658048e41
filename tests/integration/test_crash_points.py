"""Every call of the engine that Kafka answers is a crash point: the worker dies before it, then after it."""

from __future__ import annotations

import signal

import pytest

from streamserve.kafka.calls import CALL_NAMES
from tests.integration.conftest import Drive
from tests.integration.driving import Driver, events

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

EVENTS = 300
SMALL = {"max_poll_records": "50", "commit_interval": "1ms"}
"""Small transactions: several for so few events."""
LONG = {"max_poll_records": "1", "commit_interval": "10s"}
"""One transaction over many polls: whichever poll fails, it is open."""
BRIEF = {"session_timeout": "2s"}
"""For a worker that does not come back: the next waits until its session has ended."""
OPEN = "producer.send_offsets:after:3:kill"
"""A death with a transaction open whose offsets are sent, after others have been committed."""

PREPARATION = {
    "producer.abort_transaction": "consumer.poll:before:150:raise,",
    "consumer.close": "producer.flush:before:2:raise,",
}
"""Failures that lead to a call which only the end of an incarnation makes."""
ONLY_AFTER_A_DEAD_OWNER = {"group.describe", "fence.init_transactions"}
ONLY_WITH_STATE = {"consumer.seek", "changelog.high_watermark", "changelog.read", *ONLY_AFTER_A_DEAD_OWNER}
WHENS = ("before", "after")
ORDINALS = {
    "consumer.poll": 30,
    "producer.produce": 3,
    "producer.flush": 2,
    "producer.send_offsets": 2,
    "producer.begin_transaction": 2,
    "producer.commit_transaction": 2,
    "producer.init_transactions": 2,
}
"""The call at which a transaction is open, or offsets have been committed before; else the first."""


def crash(driver: Driver, fault: str, first_uid: int, instance: str = "w0") -> None:
    """Run a worker into ``fault``, with inputs to work on."""
    driver.produce(events(EVENTS, first=first_uid))
    session = {} if instance == "w0" else BRIEF
    worker = driver.start(instance, fault, **(LONG if "abort_transaction" in fault else SMALL), **session)
    assert worker.wait() == -signal.SIGKILL, driver.logs()


@pytest.mark.parametrize("call", CALL_NAMES)
def test_a_worker_that_dies_before_and_after_a_call_leaves_no_anomaly(call: str, drive: Drive) -> None:
    driver = drive("monitored")
    first_owner = "w1" if call in ONLY_AFTER_A_DEAD_OWNER else "w0"
    before, after = (f"{PREPARATION.get(call, '')}{call}:{when}:{ORDINALS.get(call, 1)}:kill" for when in WHENS)
    if call in ONLY_WITH_STATE:
        crash(driver, OPEN, 0, first_owner)
    crash(driver, before, EVENTS)
    if call in ONLY_AFTER_A_DEAD_OWNER:
        crash(driver, OPEN, 2 * EVENTS, first_owner)
    crash(driver, after, 3 * EVENTS)
    driver.close_windows()
    driver.start()
    driver.wait_for_inputs()
    report = driver.check()
    assert report.anomalies == 0, f"{report}\n{driver.logs()}"
    everything = report.committed - 10
    assert driver.drift_counts() == {"x": everything, "value": everything}
