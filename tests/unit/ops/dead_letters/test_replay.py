"""What is written for a dead letter, on Kafka in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from pydantic import BaseModel

from streamserve import App, Stream
from streamserve.clock import ManualClock
from streamserve.dataflow.planning.plan import Plan
from streamserve.kafka.clients import Clients
from streamserve.ops.dead_letters import DeadLetter, Edit, Outcome, replay, setting
from streamserve.settings import Settings
from streamserve.testing.memory_kafka import Cluster, memory_clients

from .letters import SOURCE, letter

GOOD, BAD = b'{"user":"u1"}', b'{"usr":"u1"}'


class Click(BaseModel):
    user: str


def shop() -> Plan:
    app = App("shop")
    clicks = app.topic("clicks", Click, key="user")

    @app.agent(clicks, to=app.topic("visits", Click, key="user"))
    async def note(stream: Stream[Click]) -> AsyncIterator[Click]:  # pyright: ignore[reportUnusedFunction]
        async for click in stream:
            yield click

    return app.plan()


@pytest.fixture
def cluster() -> Cluster:
    cluster = Cluster(ManualClock())
    cluster.create_topic("clicks", 4)
    cluster.create_topic("shop-dead-letters", 1)
    return cluster


def replayed(cluster: Cluster, *letters: DeadLetter, edit: Edit | None = None, **options: bool) -> Outcome:
    clients: Clients = memory_clients(cluster)
    clock = ManualClock()
    return replay(shop(), Settings(), letters, edit=edit, clients=clients, clock=clock, **options)


def test_key_headers_time_and_partition_are_the_originals(cluster: Cluster) -> None:
    replayed(cluster, letter(GOOD, ("trace", b"\xff"), ("empty", None)))
    [record] = cluster.committed("clicks")
    assert (record.key(), record.value(), record.partition()) == (b"u1", GOOD, 3)
    assert record.timestamp()[1] == 1000
    assert record.headers() == [
        ("trace", b"\xff"),
        ("empty", None),
        ("streamserve-replayed-from", b"shop-dead-letters[0]@17"),
        ("streamserve-replays", b"1"),
    ]


def test_a_second_replay_is_refused_and_can_be_wanted_all_the_same(cluster: Cluster) -> None:
    replayed(cluster, letter(GOOD))
    again = replayed(cluster, letter(GOOD))
    assert again.replays == []
    assert [(left.was_replayed, left.letter.value) for left in again.left_out] == [(True, None)]
    assert "was replayed already, to 'clicks' at " in again.left_out[0].why
    on_purpose = replayed(cluster, letter(GOOD), again=True)
    assert [one.mark.times for one in on_purpose.replays] == [2]
    assert [dict(record.headers() or []).get("streamserve-replays") for record in cluster.committed("clicks")] == [
        b"1",
        b"2",
    ]


def test_a_record_that_failed_again_is_another_dead_letter_and_counts_on(cluster: Cluster) -> None:
    replayed(
        cluster, letter(GOOD, ("streamserve-replayed-from", b"shop-dead-letters[0]@2"), ("streamserve-replays", b"4"))
    )
    [record] = cluster.committed("clicks")
    assert record.headers() == [
        ("streamserve-replayed-from", b"shop-dead-letters[0]@17"),
        ("streamserve-replays", b"5"),
    ]


def test_a_dry_run_writes_nothing_and_takes_no_transactional_id(cluster: Cluster) -> None:
    outcome = replayed(cluster, letter(GOOD), dry_run=True)
    assert len(outcome.replays) == 1
    assert cluster.committed("clicks") == []
    assert "shop-replays" not in cluster.topics


def test_what_would_be_refused_again_is_left_out_without_its_values(cluster: Cluster) -> None:
    [left] = replayed(cluster, letter(BAD)).left_out
    assert "would be refused again: " in left.why
    assert "u1" not in left.why
    assert not left.was_replayed
    assert cluster.committed("clicks") == []


def test_an_edit_makes_it_fit_and_chooses_the_key_anew(cluster: Cluster) -> None:
    replayed(cluster, letter(BAD), edit=setting(["user=u1"]))
    replayed(cluster, letter(BAD), edit=setting(["user=u2"]), again=True)
    same, other = cluster.committed("clicks")
    assert (same.key(), same.partition(), same.value()) == (b"u1", 3, b'{"usr":"u1","user":"u1"}')
    assert (other.key(), other.partition()) == (b"u2", 2)  # as Java's clients choose it


def test_an_edit_that_does_not_fit_is_left_out(cluster: Cluster) -> None:
    [wrong, not_json] = [
        replayed(cluster, letter(value), edit=setting(["user=1"])).left_out[0].why for value in (GOOD, b"-")
    ]
    assert "would be refused again" in wrong
    assert "no field can be set" in not_json


def test_a_lost_result_of_a_window_cannot_be_replayed(cluster: Cluster) -> None:
    [left] = replayed(cluster, letter(None, headers=(("window", b"hourly"),))).left_out
    assert left.why.startswith("comes from window hourly")


def test_a_topic_that_the_app_no_longer_declares_takes_bytes_as_they_are(cluster: Cluster) -> None:
    cluster.create_topic("old", 4)
    headers = tuple((name, b"old" if name == "source-topic" else value) for name, value in SOURCE)
    replayed(cluster, letter(b"\xff", headers=headers))
    assert [record.value() for record in cluster.committed("old")] == [b"\xff"]
