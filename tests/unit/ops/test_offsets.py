"""What a reset would do, on Kafka in memory; that it is done, a broker shows (tests/integration/test_offsets.py)."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

import pytest
from confluent_kafka import TopicPartition
from pydantic import BaseModel

from streamserve import App, Stream, aggregates, tumbling
from streamserve.clock import ManualClock
from streamserve.dataflow.planning.plan import Plan
from streamserve.errors import BrokerUnavailable, ConfigurationError, TopicError
from streamserve.kafka.marks import OffsetMark, Progress
from streamserve.kafka.offsets import PartitionOffsets
from streamserve.ops.offsets import Move, changelogs_of, inputs_of, look, plan_reset
from streamserve.settings import Settings
from streamserve.testing.memory_kafka import Cluster, memory_clients

MARK = OffsetMark.of("host-0", 9_000, 5, Progress(0, (8_000,)))


class Click(BaseModel):
    user: str
    page: str
    at: datetime


def shop() -> Plan:
    """Two topics that are read together, and one regrouped from the first."""
    app = App("shop")
    clicks = app.topic("clicks", Click, key="user", event_time="at")
    orders = app.topic("orders", Click, key="user", event_time="at")
    counts = app.table("counts", int, default=int)
    pages = clicks.group_by("page")
    app.aggregate("hourly", pages, aggregates.count(), window=tumbling("1h"))

    @app.agent(clicks, orders, to=app.topic("visits", Click, key="user"))
    async def note(stream: Stream[Click]) -> AsyncIterator[Click]:  # pyright: ignore[reportUnusedFunction]
        async for click in stream:
            counts.update(click.user, lambda n: n + 1)
            yield click

    @app.agent(pages)
    async def by_page(stream: Stream[Click]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for _ in stream:
            pass

    return app.plan()


PLAN = shop()
[REGROUPED] = [topic for topic in inputs_of(PLAN) if topic.endswith("-regrouped")]


@pytest.fixture
def cluster() -> Cluster:
    """Ten records in each partition; the group has committed 4 of each first partition, with marks."""
    cluster = Cluster(ManualClock())
    for topic in inputs_of(PLAN):
        cluster.create_topic(topic, 2)
        for number in range(20):
            cluster.append(topic, b"{}", partition=number % 2, timestamp_ms=number)
    return cluster


def commit(cluster: Cluster, offset: int = 4, mark: OffsetMark = MARK) -> None:
    producer, consumer = memory_clients(cluster).producer({"transactional.id": "w"}), _member(cluster)
    producer.init_transactions()
    producer.begin_transaction()
    places = [TopicPartition(topic, 0, offset, metadata=mark.encode()) for topic in inputs_of(PLAN)]
    producer.send_offsets_to_transaction(places, consumer.consumer_group_metadata())
    producer.commit_transaction()


def _member(cluster: Cluster):  # noqa: ANN202 - a client of the tests
    consumer = memory_clients(cluster).consumer({"group.id": "shop", "group.instance.id": "host-0"})
    consumer.subscribe(inputs_of(PLAN))
    consumer.poll(0)
    return consumer


def moves(cluster: Cluster, target: object, **options: object) -> dict[tuple[str, int], Move]:
    found = plan_reset(PLAN, Settings(), target, clients=memory_clients(cluster), **options)  # pyright: ignore[reportArgumentType]
    return {move.at.place: move for move in found}


def test_look_tells_offset_mark_and_what_waits(cluster: Cluster) -> None:
    commit(cluster)
    found = {one.place: one for one in look(PLAN, Settings(), memory_clients(cluster))}
    assert found["clicks", 0] == PartitionOffsets("clicks", 0, 4, MARK, 0, 10, 6)
    assert found["clicks", 1] == PartitionOffsets("clicks", 1, None, None, 0, 10, 10)


def test_a_mark_of_another_release_is_told_and_stops_nobody_from_looking(cluster: Cluster) -> None:
    commit(cluster, mark=OffsetMark("host-0", 1, None))
    broken = MARK.encode().replace(",5,5,", ",5,99,")
    assert broken != MARK.encode()
    stored = cluster.group("shop").committed("clicks", 0, stable=True)
    assert stored is not None
    cluster.group("shop").await_commit("clicks", 0)
    cluster.group("shop").settle("clicks", 0, stored._replace(metadata=broken))
    found = {one.place: one for one in look(PLAN, Settings(), memory_clients(cluster))}
    assert found["clicks", 0].mark is None
    assert "format 99" in str(found["clicks", 0].trouble)


def test_every_input_goes_back_and_forgets_event_time_while_state_stays(cluster: Cluster) -> None:
    commit(cluster)
    found = moves(cluster, "earliest")
    assert {place: move.to for place, move in found.items() if place[0] in {"clicks", "orders"}} == {
        (topic, number): 0 for topic in ("clicks", "orders") for number in (0, 1)
    }
    mark = OffsetMark.decode(found["clicks", 0].metadata)
    assert mark == OffsetMark("host-0", None, 5)
    assert (found["clicks", 0].again, found["clicks", 1].again) == (4, 0)


def test_a_topic_between_the_parts_stays_and_forgets_event_time(cluster: Cluster) -> None:
    commit(cluster)
    move = moves(cluster, "earliest")[REGROUPED, 0]
    assert (move.to, OffsetMark.decode(move.metadata)) == (4, OffsetMark("host-0", None, 5))
    assert moves(cluster, "earliest", topics=[REGROUPED])[REGROUPED, 0].to == 0


def test_a_topic_that_is_read_with_one_that_moves_forgets_event_time_too(cluster: Cluster) -> None:
    commit(cluster)
    found = moves(cluster, 1, topics=["orders"], partitions=[0])
    assert {place: move.to for place, move in found.items() if place[0] != REGROUPED} == {
        ("orders", 0): 1,
        ("clicks", 0): 4,
    }
    assert OffsetMark.decode(found["clicks", 0].metadata) == OffsetMark("host-0", None, 5)


def test_rows_that_are_done_ahead_of_an_offset_that_stays_are_not_forgotten(cluster: Cluster) -> None:
    commit(cluster, mark=OffsetMark.of("host-0", 9_000, None, Progress(4, (), seen=7, frontier=(1, 1))))
    with pytest.raises(ConfigurationError, match=r"done beyond its offset 4.*'streamserve lag' shows 0"):
        moves(cluster, "earliest")


def test_empty_state_leaves_no_mark_and_passes_over_what_is_written_again(cluster: Cluster) -> None:
    commit(cluster)
    found = moves(cluster, "earliest", empty=True)
    assert {move.metadata for move in found.values()} == {""}
    assert {place: move.to for place, move in found.items() if place[0] == REGROUPED} == {
        (REGROUPED, 0): 10,
        (REGROUPED, 1): 10,
    }


def test_latest_passes_over_what_waits(cluster: Cluster) -> None:
    commit(cluster)
    assert moves(cluster, "latest")["clicks", 0].again == -6


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"topics": ["click"]}, "reads no topic click; it reads clicks, orders"),
        ({"partitions": [7]}, "no partition 7"),
        ({"target": 11}, r"has offsets from 0 to 10, so 11 is no place"),
    ],
)
def test_what_is_not_there_is_named(cluster: Cluster, options: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        moves(cluster, **{"target": "earliest", **options})  # pyright: ignore[reportArgumentType]


def test_changelogs_are_those_of_tables_and_windows() -> None:
    assert changelogs_of(PLAN) == ["shop-counts-changelog", "shop-hourly-changelog"]


def test_offsets_that_a_transaction_holds_are_not_taken_for_a_broker_that_is_away(cluster: Cluster) -> None:
    cluster.group("shop").await_commit("clicks", 0)
    with pytest.raises(BrokerUnavailable, match=r"held by a transaction.*'streamserve transactions list MODULE:APP'"):
        look(PLAN, Settings(), memory_clients(cluster))


def test_where_it_stands_is_what_is_committed_or_else_the_beginning(cluster: Cluster) -> None:
    commit(cluster)
    found = moves(cluster, "committed", topics=["clicks"])
    assert (found["clicks", 0].to, found["clicks", 0].again) == (4, 0)
    assert found["clicks", 1].to == 0


def test_topics_that_are_missing_are_named() -> None:
    with pytest.raises(TopicError, match=rf"no topic clicks, orders, {REGROUPED}: "):
        look(PLAN, Settings(), memory_clients(Cluster(ManualClock())))
