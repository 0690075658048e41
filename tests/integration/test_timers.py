"""Timers of tables by the worker's clock, on a real broker: workers die between the setting and the firing."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Generator
from datetime import timedelta
from pathlib import Path

import pytest

from streamserve.testing.checks import read_topic
from tests.integration.apps.state import OWING_S, Owed, Spent
from tests.integration.driving import START
from tests.integration.state_driving import USERS, StateDriver, spent_events
from tests.integration.state_truth import Outcomes

pytestmark = pytest.mark.broker


@pytest.fixture
def driver(brokers: str, topic_name: str, tmp_path: Path) -> Generator[StateDriver]:
    driver = StateDriver(brokers, topic_name[-40:].lstrip("-."), "owing", tmp_path)
    driver.create()
    yield driver
    driver.close()


def one_each(first_uid: int = 0) -> list[Spent]:
    """Return one event of each user."""
    at = START + timedelta(hours=first_uid)
    return [Spent(first_uid + number, f"user-{number}", "shop", 1, at) for number in range(USERS)]


def tellings(driver: StateDriver) -> list[Owed]:
    return sorted(Outcomes(driver.brokers, driver.app).tellings(), key=lambda owed: owed.user)


def of_all_users(events: int) -> list[Owed]:
    return sorted((Owed(f"user-{number}", events) for number in range(USERS)), key=lambda owed: owed.user)


def test_timers_that_were_due_while_no_worker_ran_run_once_after_the_start(driver: StateDriver) -> None:
    first = driver.start()
    driver.spend([*one_each(), *one_each(USERS)])
    driver.wait_for_inputs()
    first.kill()
    assert tellings(driver) == [], "killed between the setting and the firing"
    time.sleep(OWING_S)
    driver.start()
    driver.wait(lambda: len(tellings(driver)) >= USERS, "the timers' outputs")
    assert driver.settle() == []
    assert tellings(driver) == of_all_users(2), "no record came in the meantime"


def test_timers_of_a_dead_worker_run_with_the_one_that_takes_its_partitions(driver: StateDriver) -> None:
    driver.start("w0")
    other = driver.start("w1")
    driver.wait(lambda: other.said("ready"), "a second worker that is ready")
    driver.spend(one_each())
    driver.wait_for_inputs()
    other.kill()
    driver.wait(lambda: len(tellings(driver)) >= USERS, "the timers' outputs")
    assert driver.settle() == []
    assert tellings(driver) == of_all_users(1)


def test_timers_run_at_their_time_while_nothing_else_happens(driver: StateDriver) -> None:
    """Not before it; how soon after it is the machine's affair."""
    driver.start()
    before_ms = time.time() * 1000
    driver.spend(one_each())
    driver.wait_for_inputs()
    driver.wait(lambda: len(tellings(driver)) >= USERS, "the timers' outputs")
    told = read_topic(driver.brokers, f"owed.{driver.app}")
    assert min(record.timestamp_ms for record in told) > before_ms + OWING_S * 1000 - 1


def test_timers_survive_deaths_at_every_side_of_the_commits_that_end_them(driver: StateDriver) -> None:
    chance = random.Random(7)  # noqa: S311 - no secret
    calls = ("producer.send_offsets", "producer.commit_transaction")
    for round_, (call, when) in enumerate((call, when) for call in calls for when in ("before", "after")):
        driver.spend(spent_events(100, chance, first=100 * round_))
        worker = driver.start(fault=f"{call}:{when}:2:kill", commit_interval="10s")
        assert worker.wait() == -signal.SIGKILL, driver.logs()
    driver.start()
    wrong = driver.settle()
    assert not wrong, "\n".join([*wrong, driver.logs()])
