"""Tables, windows, sessions and their changelogs agree with a computation from the inputs, whatever the workers suffer.

The long version: ``python -m tests.integration.storm``.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from pathlib import Path

import pytest

from tests.integration.state_driving import StateDriver
from tests.integration.storm import run_storm

pytestmark = pytest.mark.broker

DriveState = Callable[[str, int], StateDriver]


@pytest.fixture
def drive_state(brokers: str, topic_name: str, tmp_path: Path) -> Generator[DriveState]:
    drivers: list[StateDriver] = []

    def make(topology: str, partitions: int) -> StateDriver:
        driver = StateDriver(brokers, topic_name[-30:].lstrip("-"), topology, tmp_path, partitions)
        driver.create()
        drivers.append(driver)
        return driver

    yield make
    for driver in drivers:
        driver.close()


def assert_nothing_wrong(driver: StateDriver, wrong: list[str]) -> None:
    assert not wrong, "\n".join([*wrong, driver.logs()])


def test_kills_and_rescalings_change_no_result_and_no_state(drive_state: DriveState) -> None:
    driver = drive_state("windowed", 4)
    assert_nothing_wrong(driver, run_storm(driver, events=20_000, kills=6, scales=(2, 3, 1), seed=7))
