"""Calls that Kafka answers are crash points of an app with tables, windows and regrouped topics."""

from __future__ import annotations

import random
import signal
from collections.abc import Generator
from pathlib import Path

import pytest

from tests.integration.state_driving import PATIENT, SMALL, StateDriver, spent_events
from tests.integration.test_crash_points import (
    BRIEF,
    ONLY_AFTER_A_DEAD_OWNER,
    ONLY_WITH_STATE,
    OPEN,
    ORDINALS,
    WHENS,
)

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]

EVENTS = 300
CALLS = (
    "consumer.seek",
    "changelog.read",
    "fence.init_transactions",
    "producer.produce",
    "producer.flush",
    "producer.send_offsets",
    "producer.commit_transaction",
)
"""Those that state depends on; ``test_crash_points`` takes every call of an app with less of it."""


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
    session = {} if instance == "w0" else BRIEF
    worker = driver.start(instance, fault, **SMALL, **PATIENT, **session)
    assert worker.wait() == -signal.SIGKILL, driver.logs()


@pytest.mark.parametrize("call", CALLS)
def test_a_worker_that_dies_before_and_after_a_call_leaves_its_state_whole(call: str, driver: StateDriver) -> None:
    first_owner = "w1" if call in ONLY_AFTER_A_DEAD_OWNER else "w0"
    before, after = (f"{call}:{when}:{ORDINALS.get(call, 1)}:kill" for when in WHENS)
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
