"""One real broker for all integration tests of a run, and topics of their own for each."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Protocol, cast

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streamserve.broker.server import LocalBroker
from tests import BROKERS_VARIABLE
from tests.integration.driving import Driver, MakeTopics
from tests.integration.waiting import wait_until

HERE = Path(__file__).parent
PATIENCE_S = 400
"""For one test: several times what the longest takes where two of them share two cores."""
LONG = (
    *("test_dashboards", "test_demo", "test_verify", "test_benchmarks", "test_flights_storm", "test_new"),
    *("test_native_crashes", "test_exactly_once", "test_labels", "test_state_storm", "test_partial_restore"),
    *("test_state_crash_points", "test_timers", "test_rolling_restart"),
)
"""These go first, lest one runs on alone at the end; what is in none of them follows as it stands in the folder."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests of this folder their patience, and the long ones the first turn."""
    mine = [item for item in items if item.path.is_relative_to(HERE)]
    for item in mine:
        if item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(PATIENCE_S))
    turns = {name: turn for turn, name in enumerate(LONG)}
    items.sort(key=lambda item: turns.get(item.path.stem, len(LONG)))


@pytest.fixture(scope="session")
def brokers(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    """The address of a broker that lives as long as this run."""
    given = os.environ.get(BROKERS_VARIABLE)
    if given:
        yield given
        return
    with LocalBroker(tmp_path_factory.mktemp("broker")) as broker:
        yield broker.address


@pytest.fixture(scope="session")
def admin(brokers: str) -> AdminClient:
    return AdminClient({"bootstrap.servers": brokers})


@pytest.fixture
def topic_name(request: pytest.FixtureRequest) -> str:
    """A name that no other test or run uses; suffixes make more of it."""
    node = cast("pytest.Item", request.node)
    test = re.sub(r"[^\w-]+", "-", node.name)[:80]
    return f"{test}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="session")
def make_topics(brokers: str) -> MakeTopics:
    return topic_maker(brokers)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show with a failure how the logs end that the test's workers have written."""
    report = yield
    folder = cast("pytest.Function", item).funcargs.get("tmp_path")
    if report.failed and isinstance(folder, Path):
        logs = sorted(folder.rglob("*.log"), key=lambda log: log.stat().st_mtime)
        report.sections += [(f"the end of {log.name}", log.read_text(errors="replace")[-3_000:]) for log in logs[-6:]]
    return report


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Print what a test waited for in vain that is tried again: else it would be told nowhere."""
    if report.outcome == "rerun":  # pyright: ignore[reportUnnecessaryComparison] - a plug-in's outcome
        print(f"\n{report.nodeid} is tried again\n{report.longreprtext}")
        for title, text in report.sections:
            print(f"--- {title}\n{text}")


class Drive(Protocol):
    """Makes an app of one of the test topologies with topics of its own; its workers end with the test."""

    def __call__(
        self,
        topology: str,
        *,
        partitions: int = 2,
        output_config: Mapping[str, str] | None = None,
        brokers: str | None = None,
    ) -> Driver: ...


@pytest.fixture
def drive(brokers: str, topic_name: str, tmp_path: Path) -> Generator[Drive]:
    drivers: list[Driver] = []
    given = brokers

    def make(
        topology: str,
        *,
        partitions: int = 2,
        output_config: Mapping[str, str] | None = None,
        brokers: str | None = None,
    ) -> Driver:
        address = brokers or given
        driver = Driver(address, topic_name, topology, tmp_path, partitions)
        driver.create(topic_maker(address), output_config)
        drivers.append(driver)
        return driver

    yield make
    for driver in drivers:
        driver.close()


def topic_maker(brokers: str) -> MakeTopics:
    """Return a function that creates topics on any broker."""
    admin = AdminClient({"bootstrap.servers": brokers})
    create = admin.create_topics  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    def make(*names: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        wanted = [NewTopic(name, partitions, 1, config=dict(config or {})) for name in names]
        created = cast("dict[str, Future[None]]", create(wanted))
        for future in created.values():
            future.result(timeout=60)
        wait_until(lambda: admin.list_topics(timeout=60).topics.keys() >= set(names), "topics that the broker tells of")

    return make
