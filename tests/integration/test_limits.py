"""Where a broker's limits lie: what is committed beside offsets, what changelogs take, and which topic is which."""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamserve import App, Stream, Window, aggregates, tumbling
from streamserve.kafka.admin import Admin
from streamserve.kafka.errors import kafka_error, refusal
from streamserve.kafka.marks import METADATA_BYTES, Limits, OffsetMark, Progress, most_channels
from streamserve.settings import load_settings
from streamserve.testing.checks import read_topic
from tests.integration.conftest import MakeTopics
from tests.integration.running import Input, create_topics, dead_letters, process, send
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

CHANCE = random.Random(0)  # noqa: S311 - no secret
DAY_MS = 24 * 3_600_000
FAR = 1 << 62
START = datetime(2024, 1, 1, tzinfo=UTC)


def mark_of(instance: str, channels: int) -> OffsetMark:
    """Return a mark that is as long as those of so many channels get."""
    newest = tuple(1_700_000_000_000 + CHANCE.randrange(DAY_MS + 1) for _ in range(channels))
    rules = ((FAR, Limits(FAR, FAR)),) * 2
    return OffsetMark.of(instance, -FAR, FAR, Progress(1, newest, FAR, (FAR, FAR), -FAR, rules))


def commit(brokers: str, topic: str, metadata: str) -> str:
    """Commit offset 1 of ``topic`` in a transaction, and return what a reader finds beside it."""
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": topic})
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": topic})
    try:
        producer.init_transactions(30)
        producer.begin_transaction()
        offsets = [TopicPartition(topic, 0, 1, metadata=metadata)]
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
        producer.commit_transaction(30)
        (found,) = consumer.committed([TopicPartition(topic, 0)], 30)
        return found.metadata or ""
    finally:
        consumer.close()


def test_marks_of_as_many_channels_as_are_promised_are_committed(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(topic_name)
    mark = mark_of("w0", most_channels("w0"))
    assert OffsetMark.decode(commit(brokers, topic_name, mark.encode())) == mark


def test_the_longest_mark_that_fits_is_committed_and_a_longer_one_refused_with_a_remedy(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(topic_name)
    short = mark_of("w0", 700)
    room = METADATA_BYTES - 1 - len(short.encode())
    longest = msgspec.structs.replace(short, instance=f"w0{'x' * room}")
    assert len(longest.encode()) == METADATA_BYTES - 1
    assert OffsetMark.decode(commit(brokers, topic_name, longest.encode())) == longest
    too_long = msgspec.structs.replace(longest, instance=f"{longest.instance}x")
    with pytest.raises(KafkaException) as raised:
        commit(brokers, topic_name, too_long.encode())
    refused = refusal(kafka_error(raised.value), doing="close the transaction", brokers=brokers)
    assert "offset.metadata.max.bytes" in str(refused)


def test_a_broker_tells_its_limits_and_which_topic_is_which(
    brokers: str, topic_name: str, make_topics: MakeTopics, admin: AdminClient
) -> None:
    asking = Admin(load_settings({}, {"bootstrap_servers": brokers}))
    make_topics(topic_name, config={"max.message.bytes": "5000"})
    missing = f"{topic_name}-missing"
    assert asking.metadata_bytes() == METADATA_BYTES
    assert asking.message_bytes([topic_name, missing]) == {topic_name: 5000}
    (first,) = asking.topic_ids([topic_name, missing]).values()
    assert asking.topic_ids([topic_name]) == {topic_name: first}
    client: Any = admin  # its futures are untyped
    client.delete_topics([topic_name])[topic_name].result(60)
    wait_until(lambda: topic_name not in admin.list_topics(timeout=60).topics, "the topic's end")
    make_topics(topic_name)
    assert asking.topic_ids([topic_name])[topic_name] != first


class Event(msgspec.Struct, frozen=True):
    user: str
    size: int
    at: datetime = START


class Text(msgspec.Struct, frozen=True):
    user: str
    text: str


def keeping(name: str, sizes: Sequence[int]) -> tuple[App, list[dict[str, Any]]]:
    """Return an app that keeps texts which no compression makes small, and its events."""
    app = App(name)
    table = app.table("texts", str)

    @app.agent(app.topic(f"{name}.in", Event, key="user"))
    async def keep(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            table[event.user] = CHANCE.randbytes(event.size).hex()[: event.size]

    return app, [{"user": f"u{number}", "size": size} for number, size in enumerate(sizes)]


def test_a_value_larger_than_the_changelog_takes_costs_its_event_and_no_restart(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    app, events = keeping(topic_name, [100, 3_000, 970, 980, 100])
    make_topics(f"{topic_name}-texts-changelog", config={"cleanup.policy": "compact", "max.message.bytes": "2000"})
    create_topics(app, brokers)
    send(brokers, f"{topic_name}.in", [Input(event, event["user"].encode()) for event in events])
    recorder = process(app, brokers, len(events))
    assert recorder.restarts == []
    letters = dead_letters(brokers, app)
    assert [(letter.offset, letter.why) for letter in letters] == [
        (1, ("keep", "oversize", "OversizeError")),
        (3, ("keep", "oversize", "OversizeError")),
    ]


def test_a_window_s_result_larger_than_its_topic_takes_is_a_dead_letter_of_window_and_key(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user", event_time="at")
    results = app.topic(f"{topic_name}.out", Text, key="user")

    def grown(window: Window[float]) -> Text:
        return Text(window.keys[0], CHANCE.randbytes(300 * int(window.value)).hex())

    app.aggregate("w", events, aggregates.count(), window=tumbling("10s"), to=results, emit="change", output=grown)
    make_topics(f"{topic_name}.out", config={"max.message.bytes": "2000"})
    create_topics(app, brokers)
    send(brokers, events.name, [Input({"user": user, "size": 0}, user.encode()) for user in "abbbbbc"])
    recorder = process(app, brokers, 7)
    written = [json.loads(record.value or b"") for record in read_topic(brokers, results.name)]
    assert [(each["user"], len(each["text"])) for each in written] == [
        *(("a", 600), ("b", 600), ("b", 1_200), ("b", 1_800)),
        ("c", 600),
    ]
    letters = dead_letters(brokers, app)
    assert [(letter.record.key, letter.headers["window"], letter.why) for letter in letters] == [
        (b"b", "w", ("w", "oversize", "OversizeError"))
    ] * 2
    assert len(recorder.restarts) <= 3, "looked for, set aside, and back to full batches"
