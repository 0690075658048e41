"""Replaying dead letters on Kafka in memory: record and mark together or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from confluent_kafka import Message

from streamserve.clock import ManualClock
from streamserve.errors import TransactionAborted
from streamserve.kafka.clients import Clients
from streamserve.kafka.replays import Marks, Replay, Replayer, ReplayMark, in_transactions, replays_topic
from streamserve.records import Coordinates, Emission
from streamserve.settings import Settings
from streamserve.testing.memory_kafka import Cluster, memory_clients

SETTINGS = Settings()
LETTER = Coordinates("shop-dead-letters", 0, 17)


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(ManualClock())
    cluster.create_topic("clicks", 4)
    cluster.create_topic(LETTER.topic, 1)
    return cluster


@pytest.fixture
def clients(cluster: Cluster) -> Clients:
    return memory_clients(cluster)


def replay(letter: Coordinates = LETTER, value: bytes = b"{}") -> Replay:
    record = Emission("clicks", value, b"k", (("from", b"x"),), partition=3, timestamp_ms=7)
    return Replay(letter, record, ReplayMark(str(letter), "clicks", 1_000))


def seen(cluster: Cluster, topic: str) -> list[Message]:
    return cluster.committed(topic) if topic in cluster.topics else []


def test_a_record_and_its_mark_become_visible_together(cluster: Cluster, clients: Clients) -> None:
    replayer = Replayer("shop", SETTINGS, clients)
    assert replayer.marks.read() == {}
    replayer.write([replay()])
    [record] = seen(cluster, "clicks")
    assert (record.key(), record.value(), record.partition(), record.timestamp()[1]) == (b"k", b"{}", 3, 7)
    assert record.headers() == [("from", b"x")]
    book = Marks("shop", SETTINGS, clients)
    assert book.read() == {book.key_of(LETTER): ReplayMark(str(LETTER), "clicks", 1_000)}


def test_a_replay_that_began_later_fences_the_earlier_which_then_writes_nothing(
    cluster: Cluster, clients: Clients
) -> None:
    earlier = Replayer("shop", SETTINGS, clients)
    later = Replayer("shop", SETTINGS, clients)
    with pytest.raises(TransactionAborted, match="another replay of app 'shop' has begun"):
        earlier.write([replay(value=b"earlier")])
    later.write([replay(value=b"later")])
    assert [record.value() for record in seen(cluster, "clicks")] == [b"later"]


@pytest.mark.parametrize("fault", ["abort", "fence"])
def test_a_commit_that_fails_leaves_neither_record_nor_mark(cluster: Cluster, clients: Clients, fault: str) -> None:
    replayer = Replayer("shop", SETTINGS, clients)
    cluster.suffer("abort" if fault == "abort" else "fence")
    with pytest.raises(TransactionAborted):
        replayer.write([replay()])
    assert seen(cluster, "clicks") == []
    assert Marks("shop", SETTINGS, clients).read() == {}


def test_a_replay_that_is_interrupted_is_aborted_and_may_be_asked_for_again(cluster: Cluster, clients: Clients) -> None:
    replayer = Replayer("shop", SETTINGS, clients)

    def interrupted() -> Iterator[Replay]:
        yield replay(value=b"interrupted")
        raise KeyboardInterrupt

    replays: Any = interrupted()
    with pytest.raises(KeyboardInterrupt):
        replayer.write(replays)
    replayer.write([replay(value=b"again")])
    assert [record.value() for record in seen(cluster, "clicks")] == [b"again"]


def test_a_record_that_the_broker_refuses_names_its_dead_letter(cluster: Cluster, clients: Clients) -> None:
    with pytest.raises(TransactionAborted, match=r"replay shop-dead-letters\[0\]@17 \(nothing of its transaction"):
        Replayer("shop", SETTINGS, clients).write([replay(value=b"x" * 2_000_000)])
    assert seen(cluster, "clicks") == seen(cluster, replays_topic("shop")) == []


def test_a_dead_letter_topic_that_is_made_anew_has_no_marks(cluster: Cluster, clients: Clients) -> None:
    Replayer("shop", SETTINGS, clients).write([replay()])
    cluster.create_topic(LETTER.topic, 1)
    book = Marks("shop", SETTINGS, clients)
    assert book.key_of(LETTER) not in book.read()


def test_transactions_are_bounded_by_number_and_by_size() -> None:
    replays = [replay(Coordinates("dead", 0, number), b"12345") for number in range(7)]
    assert [len(part) for part in in_transactions(replays, records=3)] == [3, 3, 1]
    assert [len(part) for part in in_transactions(replays, size=12)] == [2, 2, 2, 1]
    assert list(in_transactions([])) == []
