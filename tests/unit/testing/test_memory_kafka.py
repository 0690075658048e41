"""What the clients in memory do, as the real ones were seen to do."""

from __future__ import annotations

from typing import Any

import pytest
from confluent_kafka import KafkaException, TopicPartition
from hypothesis import given
from hypothesis import strategies as st

from streamserve.clock import ManualClock
from streamserve.testing.memory_kafka import Cluster, memory_clients
from streamserve.testing.memory_kafka.log import LogTransaction, Outcome, PartitionLog
from tests.unit.testing.client_scripts import (
    SCRIPTS,
    Made,
    Script,
    a_newer_producer_fences_the_older,
    an_oversize_message_ends_its_transaction,
    in_transaction,
    keys_go_to_the_partition_that_java_would_choose,
    offsets_are_stable_once_their_transaction_ends,
    offsets_of_an_older_generation_are_refused,
    readers_see_what_is_decided,
    refusal,
)

OBSERVED: dict[Script, Any] = {
    readers_see_what_is_decided: (
        (
            [(b"1", 0), (b"2", 1), ("end", 3)],
            [(b"1", 0), (b"2", 1), (b"3", 3), (b"4", 4), ("end", 6)],
        ),
        [(b"1", 0), (b"2", 1), (b"4", 4), ("end", 7)],
        [(b"1", 0), (b"2", 1), (b"3", 3), (b"4", 4), ("end", 7)],
    ),
    a_newer_producer_fences_the_older: (("_FENCED", True, False), [(b"2", 2), ("end", 4)]),
    offsets_are_stable_once_their_transaction_ends: (
        [-1001],
        ("_TIMED_OUT", False, False),
        [-1001],
        [(5, "mark")],
    ),
    offsets_of_an_older_generation_are_refused: ((False, True), [-1001]),
    an_oversize_message_ends_its_transaction: (
        ["MSG_SIZE_TOO_LARGE"],
        ("MSG_SIZE_TOO_LARGE", False, True),
        [],
    ),
}


def observe(script: Script) -> Any:
    return script(memory_clients(Cluster(ManualClock())), {}, "t")


@pytest.mark.parametrize("script", OBSERVED)
def test_observations_are_those_of_the_real_clients(script: Script) -> None:
    assert observe(script) == OBSERVED[script]


def test_keys_spread_over_the_partitions() -> None:
    places = observe(keys_go_to_the_partition_that_java_would_choose)
    assert set(places.values()) == set(range(5))
    assert set(SCRIPTS) == {*OBSERVED, keys_go_to_the_partition_that_java_would_choose}


def test_a_topic_or_partition_that_is_not_there_is_named() -> None:
    cluster = Cluster(ManualClock())
    cluster.create_topic("there", 1)
    with pytest.raises(KafkaException, match=r"UNKNOWN_TOPIC_OR_PART.*elsewhere"):
        cluster.append("elsewhere", b"")
    with pytest.raises(KafkaException, match=r"there\[3\]"):
        cluster.append("there", b"", partition=3)


def test_clients_of_a_dead_process_do_nothing_any_more() -> None:
    cluster = Cluster(ManualClock())
    made = Made(memory_clients(cluster), {}, "t")
    made.create()
    producer, member = made.producer(), made.member()
    in_transaction(producer, made.topic, b"1")
    cluster.process.alive = False
    assert (refusal(producer.commit_transaction) or ("",))[0] == "_DESTROY"
    assert (refusal(member.consume, 1, 0) or ("",))[0] == "_DESTROY"
    member.close()
    assert cluster.log(made.topic, 0).stable_end == 0


def test_calls_out_of_order_are_refused() -> None:
    clients = memory_clients(Cluster(ManualClock()))
    made = Made(clients, {}, "t")
    made.create()
    fresh = clients.producer({"transactional.id": "fresh"})
    assert (refusal(fresh.begin_transaction) or ("",))[0] == "_STATE"
    producer = made.producer()
    assert (refusal(producer.produce, made.topic, b"1") or ("",))[0] == "_STATE"
    producer.begin_transaction()
    assert (refusal(producer.begin_transaction) or ("",))[0] == "_STATE"
    assert (refusal(made.consumer().seek, TopicPartition(made.topic, 0, 1)) or ("",))[0] == "_STATE"


@given(st.lists(st.tuples(st.integers(0, 2), st.sampled_from(["write", "commit", "abort"])), max_size=30))
def test_a_committed_reader_sees_committed_records_below_the_first_open_one(steps: list[tuple[int, str]]) -> None:
    log = PartitionLog("t", 0)
    open_ones: dict[int, LogTransaction] = {}
    written: list[tuple[int, LogTransaction]] = []
    for number, action in steps:
        if action == "write":
            transaction = open_ones.setdefault(number, LogTransaction())
            written.append((log.append(None, b"", (), 0, 0, transaction).offset() or 0, transaction))
        elif number in open_ones:
            open_ones.pop(number).end(Outcome.COMMITTED if action == "commit" else Outcome.ABORTED)
    first_open = min((offset for offset, one in written if one.outcome is Outcome.OPEN), default=log.end)
    expected = [offset for offset, one in written if offset < first_open and one.outcome is Outcome.COMMITTED]
    seen: list[int | None] = []
    position = 0
    while messages := log.read(position, 2, committed=True).messages:
        seen += [message.offset() for message in messages]
        position = log.read(position, 2, committed=True).position
    assert seen == expected
    assert log.read(position, 2, committed=True).position == log.stable_end == first_open
    assert [message.offset() for message in log.read(0, 100, committed=False).messages] == [at for at, _ in written]
