"""One real broker for all integration tests of a run, and topics of their own for each."""

from __future__ import annotations

import os
import re
import uuid
from collections.abc import Generator, Mapping
from concurrent.futures import Future
from typing import Protocol, cast

import pytest
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from streamserve.broker.server import LocalBroker

BROKERS_VARIABLE = "STREAMSERVE_TEST_BROKERS"
"""Names a broker to test against instead of starting one."""


class MakeTopics(Protocol):
    """Creates topics, and returns when the broker has them."""

    def __call__(self, *names: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None: ...


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


def topic_maker(brokers: str) -> MakeTopics:
    """Return a function that creates topics on any broker."""
    create = AdminClient({"bootstrap.servers": brokers}).create_topics  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]

    def make(*names: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None:
        wanted = [NewTopic(name, partitions, 1, config=dict(config or {})) for name in names]
        created = cast("dict[str, Future[None]]", create(wanted))
        for future in created.values():
            future.result(timeout=30)

    return make
