"""What is tried on Kafka's clients in memory and, by the integration tests, on the real ones: they must agree.

Each script takes what makes clients, a prefix for names, and makes topics by itself; it returns what it observed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from confluent_kafka import OFFSET_BEGINNING, Consumer, KafkaException, Producer, TopicPartition
from confluent_kafka.cimpl import NewTopic

from streamserve.kafka.clients import Clients
from streamserve.kafka.errors import kafka_error

Script: TypeAlias = Callable[[Clients, Mapping[str, Any], str], Any]

READ = {"enable.partition.eof": True, "auto.offset.reset": "earliest", "enable.auto.commit": False}
PATIENCE_SECONDS = 60.0


class Made:
    """Clients of one script."""

    def __init__(self, clients: Clients, config: Mapping[str, Any], prefix: str) -> None:
        self._clients = clients
        self._config = config
        self.prefix = prefix
        self.topic = f"{prefix}.topic"

    def create(self, partitions: int = 1, **config: str) -> None:
        admin: Any = self._clients.admin(dict(self._config))
        settings = {name.replace("_", "."): value for name, value in config.items()}
        for future in admin.create_topics([NewTopic(self.topic, partitions, 1, config=settings)]).values():
            future.result(PATIENCE_SECONDS)

    def producer(self, name: str = "id", **config: Any) -> Producer:
        producer = self._clients.producer(
            {**self._config, "transactional.id": f"{self.prefix}.{name}", "partitioner": "murmur2_random", **config}
        )
        producer.init_transactions(PATIENCE_SECONDS)
        return producer

    def consumer(self, **config: Any) -> Consumer:
        named = {name.replace("_", "."): value for name, value in config.items()}
        return self._clients.consumer({**self._config, "group.id": self.prefix, **READ, **named})

    def member(self) -> Consumer:
        """Return the group's member, once it owns something."""
        consumer = self.consumer()
        owned: list[TopicPartition] = []

        def on_assign(_: Consumer, partitions: list[TopicPartition]) -> None:
            consumer.assign([TopicPartition(item.topic, item.partition, OFFSET_BEGINNING) for item in partitions])
            owned.extend(partitions)

        consumer.subscribe([self.topic], on_assign=on_assign)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not owned and time.monotonic() < give_up:
            consumer.consume(1, 0.1)
        return consumer

    def seen(self, isolation: str = "read_committed") -> list[Any]:
        """Return values with their offsets, and where the end was told."""
        consumer = self.consumer(isolation_level=isolation)
        consumer.assign([TopicPartition(self.topic, 0, OFFSET_BEGINNING)])
        found: list[Any] = []
        give_up = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < give_up:
            for message in consumer.consume(100, 0.1):
                if message.error() is not None:
                    consumer.close()
                    return [*found, ("end", message.offset())]
                found.append((message.value(), message.offset()))
        raise TimeoutError(f"{self.topic}: {found} and no end")


def refusal(call: Callable[..., Any], *args: Any) -> tuple[str, bool, bool] | None:
    """Return the name of the error that ``call`` ends in, and whether it is fatal, or asks for an abort."""
    try:
        call(*args)
    except KafkaException as exception:
        error = kafka_error(exception)
        return error.name(), error.fatal(), error.txn_requires_abort()
    return None


def in_transaction(producer: Producer, topic: str, *values: bytes) -> None:
    producer.begin_transaction()
    for value in values:
        producer.produce(topic, value, b"k")
    producer.flush(PATIENCE_SECONDS)


def readers_see_what_is_decided(clients: Clients, config: Mapping[str, Any], prefix: str) -> Any:
    made = Made(clients, config, prefix)
    made.create()
    producer, other = made.producer(), made.producer("other")
    in_transaction(producer, made.topic, b"1", b"2")
    producer.commit_transaction(PATIENCE_SECONDS)
    in_transaction(producer, made.topic, b"3")
    in_transaction(other, made.topic, b"4")
    other.commit_transaction(PATIENCE_SECONDS)
    while_open = made.seen(), made.seen("read_uncommitted")
    producer.abort_transaction(PATIENCE_SECONDS)
    return while_open, made.seen(), made.seen("read_uncommitted")


def a_newer_producer_fences_the_older(clients: Clients, config: Mapping[str, Any], prefix: str) -> Any:
    made = Made(clients, config, prefix)
    made.create()
    older = made.producer()
    in_transaction(older, made.topic, b"1")
    newer = made.producer()
    fenced = refusal(older.commit_transaction, PATIENCE_SECONDS)
    in_transaction(newer, made.topic, b"2")
    newer.commit_transaction(PATIENCE_SECONDS)
    return fenced, made.seen()


def offsets_are_stable_once_their_transaction_ends(clients: Clients, config: Mapping[str, Any], prefix: str) -> Any:
    made = Made(clients, config, prefix)
    made.create()
    producer, member = made.producer(), made.member()
    places = [TopicPartition(made.topic, 0)]
    before = [item.offset for item in member.committed(places, PATIENCE_SECONDS)]
    in_transaction(producer, made.topic, b"1")
    position = TopicPartition(made.topic, 0, 5, metadata="mark")
    producer.send_offsets_to_transaction([position], member.consumer_group_metadata(), PATIENCE_SECONDS)
    unstable = refusal(member.committed, places, 1.0)
    outsider = made.consumer(isolation_level="read_uncommitted")
    early = [item.offset for item in outsider.committed(places, PATIENCE_SECONDS)]
    producer.commit_transaction(PATIENCE_SECONDS)
    after = [(item.offset, item.metadata) for item in member.committed(places, PATIENCE_SECONDS)]
    member.close()
    outsider.close()
    return before, unstable, early, after


def offsets_of_an_older_generation_are_refused(clients: Clients, config: Mapping[str, Any], prefix: str) -> Any:
    made = Made(clients, config, prefix)
    made.create()
    member = made.member()
    metadata = member.consumer_group_metadata()
    member.close()
    member = made.member()
    producer = made.producer()
    in_transaction(producer, made.topic, b"1")
    position = TopicPartition(made.topic, 0, 5)
    refused = refusal(producer.send_offsets_to_transaction, [position], metadata, PATIENCE_SECONDS)
    producer.abort_transaction(PATIENCE_SECONDS)
    stands = [item.offset for item in member.committed([position], PATIENCE_SECONDS)]
    member.close()
    return refused and refused[
        1:
    ], stands  # a broker that no longer knows the member says so, in place of its generation


def an_oversize_message_ends_its_transaction(clients: Clients, config: Mapping[str, Any], prefix: str) -> Any:
    made = Made(clients, config, prefix)
    made.create(max_message_bytes="1000")
    producer = made.producer()
    reports: list[Any] = []
    producer.begin_transaction()
    producer.produce(made.topic, b"small", b"k")
    producer.flush(PATIENCE_SECONDS)
    producer.produce(made.topic, b"x" * 5000, b"k", on_delivery=lambda error, _: reports.append(error and error.name()))
    producer.flush(PATIENCE_SECONDS)
    return reports, refusal(producer.commit_transaction, PATIENCE_SECONDS), made.seen()[:-1]


def keys_go_to_the_partition_that_java_would_choose(clients: Clients, config: Mapping[str, Any], prefix: str) -> Any:
    made = Made(clients, config, prefix)
    made.create(partitions=5)
    producer = made.producer()
    places: dict[bytes, int | None] = {}
    producer.begin_transaction()
    for key in (b"", *(f"key-{number}".encode() for number in range(50))):
        producer.produce(
            made.topic, b"", key, on_delivery=lambda _, message, key=key: places.update({key: message.partition()})
        )
    producer.commit_transaction(PATIENCE_SECONDS)
    return places


SCRIPTS: tuple[Script, ...] = (
    readers_see_what_is_decided,
    a_newer_producer_fences_the_older,
    offsets_are_stable_once_their_transaction_ends,
    offsets_of_an_older_generation_are_refused,
    an_oversize_message_ends_its_transaction,
    keys_go_to_the_partition_that_java_would_choose,
)
