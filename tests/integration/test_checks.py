"""The checker's readers see what Kafka says: transactions open, committed and aborted, and stable offsets."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Generator, Sequence
from contextlib import contextmanager

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streamserve.errors import OutageError, TopicError
from streamserve.testing.checks import ReadRecord, check_app, committed_offsets, end_offsets, read_topic
from tests.integration.conftest import MakeTopics

pytestmark = pytest.mark.broker


@contextmanager
def transaction(brokers: str, *, commit: bool = True) -> Generator[Producer]:
    producer = transactional(brokers)
    yield producer
    producer.flush()
    if commit:
        producer.commit_transaction()
    else:
        producer.abort_transaction()


def transactional(brokers: str) -> Producer:
    producer = Producer({"bootstrap.servers": brokers, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(30)
    producer.begin_transaction()
    return producer


def values(records: Sequence[ReadRecord]) -> list[bytes | None]:
    return [record.value for record in records]


def produce_inputs(brokers: str, topic: str, count: int) -> None:
    producer = Producer({"bootstrap.servers": brokers})
    for n in range(count):
        producer.produce(topic, value=b"%d" % n, partition=n % 2)
    producer.flush()


def commit_offsets(brokers: str, producer: Producer, group: str, offsets: list[TopicPartition]) -> None:
    consumer = Consumer({"bootstrap.servers": brokers, "group.id": group})
    try:
        producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata())
    finally:
        consumer.close()


def answer(producer: Producer, source: tuple[str, int, int], topic: str) -> None:
    names = ("source-topic", "source-partition", "source-offset")
    headers: list[tuple[str, str | bytes | None]] = [
        (name, str(part).encode()) for name, part in zip(names, source, strict=True)
    ]
    producer.produce(topic, value=b"answer", partition=source[1], headers=headers)


def test_an_aborted_transaction_at_the_tail_ends_the_read_without_showing(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(topic_name, partitions=2)
    with transaction(brokers) as producer:
        producer.produce(topic_name, value=b"kept", partition=0)
    with transaction(brokers, commit=False) as producer:
        producer.produce(topic_name, value=b"dropped", partition=0)
        producer.produce(topic_name, value=b"dropped", partition=1)
    assert values(read_topic(brokers, topic_name, deadline_s=60)) == [b"kept"]
    everything = read_topic(brokers, topic_name, isolation="read_uncommitted", deadline_s=60)
    assert sorted(value or b"" for value in values(everything)) == [b"dropped", b"dropped", b"kept"]


def test_a_read_waits_for_an_open_transaction(brokers: str, topic_name: str, make_topics: MakeTopics) -> None:
    make_topics(topic_name, partitions=2)
    producer = transactional(brokers)
    producer.produce(topic_name, value=b"late", partition=0)
    producer.flush()
    commit = threading.Timer(1.0, producer.commit_transaction)
    commit.start()
    try:
        assert values(read_topic(brokers, topic_name, deadline_s=60)) == [b"late"]
    finally:
        commit.join()


def test_a_transaction_that_nobody_ends_is_named_after_the_deadline(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(topic_name, partitions=2)
    producer = transactional(brokers)
    producer.produce(topic_name, value=b"open", partition=1)
    producer.flush()
    with pytest.raises(OutageError, match=rf"{topic_name}\[1\] at 0 of 1; an open transaction"):
        read_topic(brokers, topic_name, deadline_s=1)
    producer.abort_transaction()


def test_an_empty_topic_reads_as_empty(brokers: str, topic_name: str, make_topics: MakeTopics) -> None:
    make_topics(topic_name, partitions=2)
    assert read_topic(brokers, topic_name) == []
    assert end_offsets(brokers, [topic_name]) == {(topic_name, 0): 0, (topic_name, 1): 0}


def test_a_topic_that_does_not_exist_is_named(brokers: str, topic_name: str) -> None:
    with pytest.raises(TopicError, match=f"topic {topic_name} does not exist"):
        read_topic(brokers, topic_name)


def test_offsets_in_an_open_transaction_are_waited_for(brokers: str, topic_name: str, make_topics: MakeTopics) -> None:
    make_topics(topic_name, partitions=2)
    producer = transactional(brokers)
    commit_offsets(brokers, producer, topic_name, [TopicPartition(topic_name, 0, 5)])
    with pytest.raises(OutageError, match=f"group {topic_name} were not stable"):
        committed_offsets(brokers, topic_name, [topic_name], deadline_s=1)
    producer.commit_transaction()
    assert committed_offsets(brokers, topic_name, [topic_name]) == {(topic_name, 0): 5}
    assert committed_offsets(brokers, topic_name) == {(topic_name, 0): 5}


def test_a_group_without_offsets_has_none(brokers: str, topic_name: str) -> None:
    assert committed_offsets(brokers, topic_name) == {}


def test_a_correct_app_has_no_anomaly_and_a_broken_one_is_found_out(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    inputs, outputs, dead = f"{topic_name}-in", f"{topic_name}-out", f"{topic_name}-dead-letters"
    make_topics(inputs, outputs, dead, partitions=2)
    produce_inputs(brokers, inputs, 200)
    with transaction(brokers) as producer:
        for offset in range(50):
            answer(producer, (inputs, 0, offset), outputs if offset % 10 else dead)
        commit_offsets(brokers, producer, topic_name, [TopicPartition(inputs, 0, 50)])
    with transaction(brokers, commit=False) as producer:
        answer(producer, (inputs, 0, 50), outputs)

    def report() -> dict[str, object]:
        found = check_app(
            brokers,
            group=topic_name,
            input_topics=[inputs],
            output_topics=[outputs],
            dead_letter_topic=dead,
            deadline_s=60,
        )
        assert (found.inputs, found.committed, found.dead_letters) == (200, 50, 5)
        return {injury: count for injury, count in found.counts().items() if count}

    assert report() == {}
    with transaction(brokers) as producer:
        answer(producer, (inputs, 0, 7), outputs)
        answer(producer, (inputs, 1, 99), outputs)
        answer(producer, (inputs, 1, 100), outputs)
    assert report() == {"duplicated": 1, "premature": 1, "phantom": 1}


def test_outputs_are_matched_by_uid(brokers: str, topic_name: str, make_topics: MakeTopics) -> None:
    inputs, outputs = f"{topic_name}-in", f"{topic_name}-out"
    make_topics(inputs, outputs, partitions=2)
    produce_inputs(brokers, inputs, 10)
    with transaction(brokers) as producer:
        for n in (0, 2, 6, 8):
            producer.produce(outputs, value=b"%d" % (n * 10), partition=1)
        commit_offsets(brokers, producer, topic_name, [TopicPartition(inputs, 0, 5)])
    report = check_app(
        brokers,
        group=topic_name,
        input_topics=[inputs],
        output_topics=[outputs],
        uid_of_input=int,
        uid_of_output=lambda value: int(value) // 10,
    )
    assert report.examples == {"lost": (f"{inputs}[0]@2: no outcome",)}
