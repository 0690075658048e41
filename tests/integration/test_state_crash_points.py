"""Every call of the engine that Kafka answers is a crash point of an app with tables, windows and regrouped topics."""

from __future__ import annotations

import random
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from streamserve.kafka.calls import CALL_NAMES
from tests.integration.state_driving import PATIENT, SMALL, StateDriver, spent_events
from tests.integration.test_crash_points import (
    ONLY_AFTER_A_DEAD_OWNER,
    ONLY_WITH_STATE,
    OPEN,
    ORDINALS,
    WHENS,
)

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

EVENTS = 300
FAILURE = "producer.flush:before:2:raise,"
"""Leads to ``consumer.close``, which only the end of an incarnation calls."""
CALLS = [call for call in CALL_NAMES if call != "producer.abort_transaction"]
"""Of rows that are held back no poll is sure to fail with a transaction open: ``test_crash_points`` aborts one."""


@pytest.fixture
def driver(brokers: str, topic_name: str, tmp_path: Path) -> Generator[StateDriver]:
    driver = StateDriver(brokers, topic_name[-40:].lstrip("-."), "windowed", tmp_path)
    driver.create()
    yield driver
    driver.close()


def crash(driver: StateDriver, fault: str, first_uid: int, instance: str = "w0") -> None:
    """Run a worker into ``fault``, with inputs to work on."""
    chance = random.Random(first_uid)  # noqa: S311 - no secret
    driver.spend(spent_events(EVENTS, chance, first=first_uid))
    worker = driver.start(instance, fault, **SMALL, **PATIENT)
    assert worker.wait() == -signal.SIGKILL, driver.logs()


@pytest.mark.parametrize("call", CALLS)
def test_a_worker_that_dies_before_and_after_a_call_leaves_its_state_whole(call: str, driver: StateDriver) -> None:
    first_owner = "w1" if call in ONLY_AFTER_A_DEAD_OWNER else "w0"
    failure = FAILURE if call == "consumer.close" else ""
    before, after = (f"{failure}{call}:{when}:{ORDINALS.get(call, 1)}:kill" for when in WHENS)
    if call in ONLY_WITH_STATE:
        crash(driver, OPEN, 0, first_owner)
    crash(driver, before, EVENTS)
    if call in ONLY_AFTER_A_DEAD_OWNER:
        crash(driver, OPEN, 2 * EVENTS, first_owner)
    crash(driver, after, 3 * EVENTS)
    driver.move_time(3_600)
    driver.start("w0", **SMALL, **PATIENT)
    wrong = driver.settle()
    assert not wrong, "\n".join([*wrong, driver.logs()])
