"""``streamserve doctor`` on real brokers: a sound one, and one on which everything was planted that it looks for."""

from __future__ import annotations

import re
import time
from collections.abc import AsyncIterator, Generator, Mapping
from pathlib import Path
from typing import Any, cast

import pytest
from confluent_kafka.admin import (
    AclBinding,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
    AclOperation,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
    AclPermissionType,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
    AdminClient,
    ResourcePatternType,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
    ResourceType,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
)
from pydantic import BaseModel

from streamserve import App, Binary, Stream
from streamserve.broker.server import LocalBroker
from streamserve.clock import Clock, ManualClock
from streamserve.inference.package import MODEL_FILE
from streamserve.kafka.admin import changelog_config, dead_letter_config
from streamserve.ops.doctor import Finding, examine
from streamserve.settings import load_settings
from tests.integration.conftest import topic_maker
from tests.unit.inference.onnx_models import unread_package

pytestmark = pytest.mark.broker

KAFKA = {
    "authorizer.class.name": "org.apache.kafka.metadata.authorizer.StandardAuthorizer",
    "allow.everyone.if.no.acl.found": "true",
    "transaction.max.timeout.ms": "5000",
    "offset.metadata.max.bytes": "100",
    "offsets.retention.minutes": "5",
    "controlled.shutdown.enable": "true",
}
EIGHT = {
    "input-retention",
    "input-compacted",
    "changelog-policy",
    "dead-letter-size",
    "transaction-timeout",
    "topic-rights",
    "group-rights",
    "clock",
}
MORE = {
    "topics-missing",
    "in-sync-replicas",
    "offset-metadata",
    "offset-retention",
    "hanging-transactions",
    "unclean-election",
    "state-directory",
    "model-package",
}


class Payment(BaseModel):
    user: str
    amount: float


def shop(name: str, folder: Path) -> App:
    """An app with an input, another, an output, a table on disk and a model."""
    app = App(name, model_registry=folder / "models", state_dir=folder / "state")
    payments = app.topic(f"{name}-payments", Payment, key="user")
    refunds = app.topic(f"{name}-refunds", Payment, key="user")
    large = app.topic(f"{name}-large", Payment, key="user")
    copies = app.topic(f"{name}-copies", Payment, key="user")
    sums = app.table("sums", float, default=float, store="disk")
    app.model("risk", inputs=[Payment], output=Binary)

    @app.agent(payments, to=large)
    async def add(stream: Stream[Payment]) -> AsyncIterator[Payment]:
        async for payment in stream:
            sums[payment.user] += payment.amount
            yield payment

    @app.agent(refunds, to=copies)
    async def copy(stream: Stream[Payment]) -> AsyncIterator[Payment]:
        async for refund in stream:
            yield refund

    return app


def looked_at(app: App, brokers: str, clock: Clock | None = None) -> list[Finding]:
    settings = load_settings(app.settings, {"bootstrap_servers": brokers})
    return list(examine(settings, app.plan(), clock=clock))


def deny(brokers: str, *what: tuple[ResourceType, str, AclOperation]) -> None:
    """Forbid operations to everybody, who has no name on a broker without credentials."""
    bindings = [
        AclBinding(kind, name, ResourcePatternType.LITERAL, "User:ANONYMOUS", "*", operation, AclPermissionType.DENY)
        for kind, name, operation in what
    ]
    client: Any = AdminClient({"bootstrap.servers": brokers})  # its futures are untyped
    for future in cast("Mapping[object, Any]", client.create_acls(bindings)).values():
        future.result(60)


@pytest.fixture(scope="module")
def ill_broker(tmp_path_factory: pytest.TempPathFactory) -> Generator[str]:
    with LocalBroker(tmp_path_factory.mktemp("ill"), settings=KAFKA) as broker:
        yield broker.address


def test_a_sound_app_on_a_sound_broker_has_nothing_wrong(brokers: str, topic_name: str, tmp_path: Path) -> None:
    app = shop(topic_name, tmp_path)
    unread_package(tmp_path / "models")
    make = topic_maker(brokers)
    make(f"{topic_name}-payments", f"{topic_name}-refunds", f"{topic_name}-large", f"{topic_name}-copies", partitions=2)
    make(f"{topic_name}-dead-letters", config=dead_letter_config())
    make(f"{topic_name}-sums-changelog", partitions=2, config=changelog_config())
    found = looked_at(app, brokers)
    assert [finding for finding in found if finding.level != "fine"] == []
    assert {"broker", "release", "topic", "group-rights", "transactions", "clock", "model-package"} <= {
        finding.name for finding in found
    }


def test_every_planted_fault_is_found_and_has_a_remedy(ill_broker: str, topic_name: str, tmp_path: Path) -> None:
    app = shop(topic_name, tmp_path)
    unread_package(tmp_path / "models").joinpath(MODEL_FILE).write_bytes(b"another")
    (tmp_path / "state").write_text("a file where the tables' folder should be")
    plant(ill_broker, topic_name)
    ten_minutes_ago = ManualClock(time.time_ns() // 1_000_000 - 600_000)
    found = looked_at(app, ill_broker, ten_minutes_ago)
    wrong = {finding.name for finding in found if finding.level in {"fault", "warning"}}
    assert (EIGHT - wrong, MORE - wrong) == (set(), set())
    assert wrong <= EIGHT | MORE | {"message-size"}
    assert [finding for finding in found if finding.level != "fine" and not finding.remedy] == []


def test_clocks_that_differ_by_ten_minutes_are_told_with_the_difference(brokers: str, topic_name: str) -> None:
    ten_minutes_ahead = ManualClock(time.time_ns() // 1_000_000 + 600_000)
    found = {finding.name: finding for finding in looked_at(App(topic_name), brokers, ten_minutes_ahead)}
    assert found["clock"].level == "warning"
    [seconds] = re.findall(r"(\d+) s behind", found["clock"].what)
    assert 400 < int(seconds) <= 600  # this clock stands still while the broker's goes on


def plant(brokers: str, name: str) -> None:
    """Make topics, each with something wrong, and take rights away; one topic is not made at all."""
    make = topic_maker(brokers)
    make(f"{name}-payments", config={"retention.ms": "600000", "max.message.bytes": "3000000"})
    make(f"{name}-refunds", config={"cleanup.policy": "compact", "unclean.leader.election.enable": "true"})
    make(f"{name}-sums-changelog", config={"cleanup.policy": "delete"})
    make(f"{name}-copies")
    make(f"{name}-dead-letters", config={"min.insync.replicas": "2"})
    deny(
        brokers,
        (ResourceType.TOPIC, f"{name}-copies", AclOperation.WRITE),
        (ResourceType.GROUP, name, AclOperation.READ),
    )


def test_a_transactional_id_that_may_not_be_used_is_told(ill_broker: str, topic_name: str) -> None:
    deny(ill_broker, (ResourceType.TRANSACTIONAL_ID, f"{topic_name}.doctor", AclOperation.WRITE))
    found = {finding.name: finding for finding in looked_at(App(topic_name), ill_broker)}
    assert found["transactional-rights"].level == "fault"
    assert f"prefix {topic_name}." in found["transactional-rights"].remedy
    assert found["clock"].level == "unknown"
