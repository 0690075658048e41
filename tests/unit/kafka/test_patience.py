"""A transaction that nobody ends is waited for as long as one may last, and then named."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

import pytest

from streamserve.clock import ManualClock
from streamserve.errors import BrokerUnavailable
from streamserve.kafka import patience
from streamserve.kafka.calls import Calls
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.kafka.patience import Patience
from streamserve.kafka.restore import StateReader, Takeover
from streamserve.settings import load_settings
from streamserve.testing.memory_kafka import Cluster, memory_clients
from streamserve.testing.memory_kafka.log import LogTransaction, Outcome

SETTINGS = load_settings(command_line={"instance": "w0", "transaction_timeout": "50ms"})


class Owner:
    def on_assigned(self, partitions: Sequence[TopicPartitionKey]) -> None: ...

    def on_revoked(self, partitions: Sequence[TopicPartitionKey], *, lost: bool) -> None: ...


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Cluster:
    monkeypatch.setattr(patience, "_SWEEP_SECONDS", 0.1)
    made = Cluster(ManualClock())
    made.create_topic("in", 1)
    made.create_topic("app-state-changelog", 1)
    return made


def takeover_of(cluster: Cluster) -> Takeover:
    calls = Calls(clients=memory_clients(cluster))
    consumer = GroupConsumer("app", ["in"], SETTINGS, calls, Owner())
    return Takeover("app", [("in", 0)], consumer, SETTINGS, calls)


def repeat(step: Callable[[], object]) -> None:
    """Take steps until one is the last."""
    give_up = time.monotonic() + 30
    while not step():
        assert time.monotonic() < give_up, "waits for ever"
        time.sleep(0.01)


def test_offsets_that_a_hanging_transaction_holds_back_end_the_wait(cluster: Cluster) -> None:
    """Kafka 4.3 leaves such a one behind when it drops transaction markers (KAFKA-20734)."""
    cluster.group("app").await_commit("in", 0)
    with pytest.raises(BrokerUnavailable, match=r"committed offsets of in\[0\]: held back .* 50ms .*find-hanging"):
        repeat(takeover_of(cluster).step)


def test_a_changelog_that_a_hanging_transaction_holds_back_ends_the_wait(cluster: Cluster) -> None:
    hanging = LogTransaction()
    cluster.append("app-state-changelog", b"state", b"part", transaction=hanging)
    reader = StateReader("app", "app-state-changelog", SETTINGS, Calls(clients=memory_clients(cluster)))
    reader.request({0: {b"part": 0}})
    with pytest.raises(BrokerUnavailable, match=r"the end of app-state-changelog\[0\]: held back .*find-hanging"):
        repeat(reader.step)


def test_transactions_that_end_in_time_are_waited_for(cluster: Cluster) -> None:
    cluster.group("app").await_commit("in", 0)
    open_one = LogTransaction()
    cluster.append("app-state-changelog", b"state", b"part", transaction=open_one)
    takeover = takeover_of(cluster)
    reader = StateReader("app", "app-state-changelog", SETTINGS, Calls(clients=memory_clients(cluster)))
    reader.request({0: {b"part": 0}})
    assert [takeover.step(), takeover.step(), reader.step()] == [False, False, None]
    cluster.group("app").settle("in", 0, None)
    open_one.end(Outcome.COMMITTED)
    repeat(takeover.step)
    repeat(reader.step)
    assert takeover.committed["in", 0].offset is None


def test_time_in_which_nobody_asked_was_not_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where the process, or its machine, was stopped for a while."""
    clock = ManualClock()
    monkeypatch.setattr(patience, "time", clock)
    waiting = Patience(SETTINGS)
    clock.advance(3600)
    waiting.wait_for("something")
    waiting.renew()
    for _ in range(6):
        clock.advance(5)
        waiting.wait_for("something")
    clock.advance(1)
    with pytest.raises(BrokerUnavailable, match=r"something: held back for 31 s"):
        waiting.wait_for("something")
