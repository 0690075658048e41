"""Tables' changelogs: they become visible with their transaction, and are read back to the end."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

import pytest
from confluent_kafka import Consumer, Producer

from streamserve.errors import ConfigurationError, OutcomeUnknown
from streamserve.kafka.calls import Calls
from streamserve.kafka.changelog import ChangelogReader
from streamserve.kafka.commit import ChangelogBatch, Frozen, GroupCommit
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.kafka.transaction import Transaction
from streamserve.settings import Settings, load_settings
from streamserve.testing.checks import read_topic
from streamserve.testing.faults import FaultSwitch, parse_faults
from tests.integration.conftest import MakeTopics
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

Rows = Mapping[TopicPartitionKey, list[tuple[bytes, bytes | None]]]


@pytest.fixture
def settings(brokers: str) -> Settings:
    return load_settings(command_line={"bootstrap_servers": brokers, "instance": "w0", "transaction_timeout": "10s"})


def read_all(reader: ChangelogReader, places: Mapping[TopicPartitionKey, int]) -> Rows:
    """Return the records of each place, in order."""
    reader.request(places)
    rows: dict[TopicPartitionKey, list[tuple[bytes, bytes | None]]] = {}
    while (columns := reader.step()) is not None:
        for place, keys, values in columns:
            rows.setdefault(place, []).extend(zip(keys, values, strict=True))
    done, total = reader.progress()
    assert done == total
    return rows


def read_once(settings: Settings, places: Mapping[TopicPartitionKey, int]) -> Rows:
    reader = ChangelogReader("app", settings, Calls())
    try:
        return read_all(reader, places)
    finally:
        reader.close()


def transactional(settings: Settings) -> Producer:
    """Return a stranger's producer, with a transaction open."""
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers, "transactional.id": uuid.uuid4().hex})
    producer.init_transactions(60)
    producer.begin_transaction()
    return producer


def produce(producer: Producer, topic: str, rows: Mapping[bytes, bytes | None], partition: int = 0) -> None:
    for key, value in rows.items():
        producer.produce(topic, value, key, partition)
    assert producer.flush(60) == 0


def test_changes_and_outputs_become_visible_together_or_not_at_all(
    settings: Settings, topic_name: str, make_topics: MakeTopics
) -> None:
    source, out, changelog = (f"{topic_name}.{name}" for name in ("in", "out", "changelog"))
    make_topics(source, out)
    make_topics(changelog, partitions=2, config={"cleanup.policy": "compact"})
    member = Consumer({"bootstrap.servers": settings.bootstrap_servers, "group.id": topic_name})
    member.subscribe([source])
    changes = [ChangelogBatch(changelog, 1, [b"a", b"b"], [b"1", None]), ChangelogBatch(changelog, 0, [b"c"], [b"3"])]

    def commit(fault: str = "") -> None:
        transaction = Transaction(topic_name, settings, Calls(FaultSwitch(parse_faults(fault))))
        try:
            transaction.open()
            transaction.produce_columns(out, [b"x"], [b"k"], list)
            group = GroupCommit({(source, 0): 1}, changes=changes)
            transaction.commit(Frozen([group], member.consumer_group_metadata()))
        finally:
            transaction.close()

    def seen() -> tuple[int, Rows]:
        places = {(changelog, 0): 0, (changelog, 1): 0}
        return len(read_topic(settings.bootstrap_servers, out)), read_once(settings, places)

    def joined() -> bool:
        member.poll(0.1)
        return bool(member.assignment())

    wait_until(joined, "the assignment")
    with pytest.raises(OutcomeUnknown):
        commit("producer.commit_transaction:before:1:raise=_TIMED_OUT")
    Transaction(topic_name, settings, Calls()).close()  # settles it
    assert seen() == (0, {})
    commit()
    assert seen() == (1, {(changelog, 0): [(b"c", b"3")], (changelog, 1): [(b"a", b"1"), (b"b", None)]})
    member.close()


def test_what_was_aborted_is_passed_over_and_the_end_is_reached(
    settings: Settings, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(topic_name, partitions=2)
    producer = transactional(settings)
    produce(producer, topic_name, {b"a": b"1", b"b": None})
    producer.commit_transaction()
    producer.begin_transaction()
    produce(producer, topic_name, {b"a": b"2"})
    producer.abort_transaction()
    assert read_once(settings, {(topic_name, 0): 0, (topic_name, 1): 0}) == {
        (topic_name, 0): [(b"a", b"1"), (b"b", None)]
    }


def test_reading_goes_on_where_it_is_told(settings: Settings, topic_name: str, make_topics: MakeTopics) -> None:
    make_topics(topic_name, partitions=2)
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    for partition in range(2):
        produce(producer, topic_name, {b"%d" % number: b"v" for number in range(25_000)}, partition)
    rows = read_once(settings, {(topic_name, 0): 24_998, (topic_name, 1): 0})
    assert rows[topic_name, 0] == [(b"24998", b"v"), (b"24999", b"v")]
    assert [key for key, _ in rows[topic_name, 1]] == [b"%d" % number for number in range(25_000)]
    assert read_once(settings, {(topic_name, 0): 25_000}) == {}


def test_a_changelog_that_ends_before_what_was_committed_is_named(
    settings: Settings, topic_name: str, make_topics: MakeTopics
) -> None:
    make_topics(topic_name)
    reader = ChangelogReader("app", settings, Calls())
    with pytest.raises(ConfigurationError, match=rf"{topic_name}\[0\] ends at offset 0, before 7"):
        reader.request({(topic_name, 0): 7})
    reader.close()


@pytest.mark.parametrize("ending", ["commit", "abort"])
def test_a_stranger_s_open_transaction_is_waited_for(
    settings: Settings, topic_name: str, make_topics: MakeTopics, ending: str
) -> None:
    make_topics(topic_name)
    producer = Producer({"bootstrap.servers": settings.bootstrap_servers})
    stranger = transactional(settings)
    produce(producer, topic_name, {b"a": b"1"})
    produce(stranger, topic_name, {b"b": b"2"})
    produce(producer, topic_name, {b"c": b"3"})
    reader = ChangelogReader("app", settings, Calls())
    reader.request({(topic_name, 0): 0})
    wait_until(lambda: [keys for _, keys, _ in reader.step() or []] == [[b"a"]], "what stands before the transaction")
    assert [reader.step() for _ in range(10)] == [[]] * 10
    assert reader.progress() == (1, 3)
    if ending == "commit":
        stranger.commit_transaction()
    else:
        stranger.abort_transaction()
    after: list[bytes] = []
    while (columns := reader.step()) is not None:
        after += [key for _, keys, _ in columns for key in keys]
    assert after == ([b"b", b"c"] if ending == "commit" else [b"c"])
    reader.close()
