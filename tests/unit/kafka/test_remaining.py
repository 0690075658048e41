from __future__ import annotations

from confluent_kafka import Producer

from streamserve.clock import ManualClock
from streamserve.kafka.remaining import remaining
from streamserve.settings import Settings
from streamserve.testing.memory_kafka import Cluster, memory_clients


def transactional(cluster: Cluster, name: str = "writer") -> Producer:
    producer = memory_clients(cluster).producer({"transactional.id": name})
    producer.init_transactions()
    return producer


def left(cluster: Cluster, start: int) -> int:
    clients = memory_clients(cluster)
    end = cluster.log("in", 0).stable_end
    return remaining("shop", Settings(), {("in", 0): (start, end)}, clients)["in", 0]


def cluster_with(*transactions: tuple[str, ...], aborted: tuple[str, ...] = ()) -> Cluster:
    cluster = Cluster(ManualClock())
    cluster.create_topic("in", 1)
    producer = transactional(cluster)
    for values in transactions:
        producer.begin_transaction()
        for value in values:
            producer.produce("in", value.encode())
        producer.abort_transaction() if values == aborted else producer.commit_transaction()
    return cluster


def test_a_marker_at_the_end_is_no_record() -> None:
    assert left(cluster_with(("a",)), start=1) == 0


def test_aborted_records_and_their_markers_are_none_either() -> None:
    assert left(cluster_with(("a",), ("no", "no"), aborted=("no", "no")), start=1) == 0


def test_a_record_behind_markers_counts_from_itself_on() -> None:
    cluster = cluster_with(("a",), ("no",), ("b",), aborted=("no",))
    assert left(cluster, start=1) == 2  # b and its marker
    assert left(cluster, start=0) == 6


def test_what_an_open_transaction_holds_back_does_not_wait_yet() -> None:
    cluster = cluster_with(("a",))
    other = transactional(cluster, "other")
    other.begin_transaction()
    other.produce("in", b"later")
    assert left(cluster, start=1) == 0


def test_an_empty_span_asks_nobody() -> None:
    assert remaining("shop", Settings(), {("in", 0): (5, 5), ("in", 1): (7, 5)}) == {("in", 0): 0, ("in", 1): 0}
