"""Whoever takes over in the midst of a commit sees no stale key, however the old owner ends.

The long version: ``python -m tests.integration.takeover``.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path

import pytest

from tests.integration.state_driving import StateDriver
from tests.integration.takeover_endings import ENDINGS, Ending
from tests.integration.takeover_queued import Queued
from tests.integration.takeover_switched import Switched

pytestmark = pytest.mark.broker


@pytest.fixture
def driver(brokers: str, topic_name: str, tmp_path: Path) -> Generator[StateDriver]:
    driver = StateDriver(brokers, topic_name[-30:].lstrip("-"), "counted", tmp_path, 2)
    driver.create()
    yield driver
    driver.close()


@pytest.mark.parametrize("ending", ENDINGS)
def test_offsets_accepted_before_the_changelog_arrives_leave_no_stale_key(ending: Ending, driver: StateDriver) -> None:
    successor = "w1" if ending == "gives way" else "w0"
    arrival = "before" if ending == "gives way" else "after"
    wrong = Queued(ending, 3, arrival, successor).take_over(driver, 0, seed=1)
    assert not wrong, "\n".join([*wrong, driver.logs()])


@pytest.mark.parametrize("ending", ENDINGS)
def test_an_end_between_the_offsets_and_the_commit_leaves_no_stale_key(ending: Ending, driver: StateDriver) -> None:
    wrong = Switched(ending, "producer.commit_transaction:before", 2).take_over(driver, 0, seed=5)
    assert not wrong, "\n".join([*wrong, driver.logs()])
