"""What a member of the group does with partitions that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from confluent_kafka import KafkaError, KafkaException, TopicPartition

from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.settings import load_settings


class Client:
    """Notes what the engine asks of the client."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Any] = {}
        self.known: list[TopicPartition] = []
        self.assigned: list[TopicPartition] = []
        self.paused: list[TopicPartition] = []
        self.sought: list[TopicPartition] = []
        self.done: list[str] = []

    def subscribe(self, topics: Sequence[str], **callbacks: Any) -> None:
        del topics
        self.callbacks = callbacks

    def get_watermark_offsets(self, place: TopicPartition, *, cached: bool) -> tuple[int, int]:
        assert cached
        self.known.append(place)
        return -1001, -1001

    def assign(self, places: list[TopicPartition]) -> None:
        assert self.paused == places
        self.assigned = places

    def pause(self, places: list[TopicPartition]) -> None:
        assert self.known == places
        self.paused = places

    def seek(self, place: TopicPartition) -> None:
        self.sought.append(place)
        self.done.append("seek")

    def resume(self, _: list[TopicPartition]) -> None:
        self.done.append("resume")

    def offsets_for_times(self, _: list[TopicPartition], timeout: float) -> list[TopicPartition]:
        """No answer in time."""
        self.done.append("offsets_for_times")
        raise KafkaException(KafkaError(KafkaError._TIMED_OUT), timeout)


class Owner:
    def on_assigned(self, partitions: Sequence[TopicPartitionKey]) -> None: ...

    def on_revoked(self, partitions: Sequence[TopicPartitionKey], *, lost: bool) -> None: ...


def test_what_is_given_waits_at_an_offset_that_the_client_need_not_ask_for() -> None:
    """Asked for a logical offset, librdkafka may answer after the seek, and go back to the beginning by itself.

    It is paused before it is assigned: else librdkafka may fetch from that offset, which need not be there any more.
    """
    client = Client()
    clients = Clients(KAFKA_CLIENTS.producer, lambda _: cast("Any", client), KAFKA_CLIENTS.admin)
    settings = load_settings(command_line={"instance": "w0"})
    GroupConsumer("app", ["in"], settings, Calls(clients=clients), Owner()).join()
    client.callbacks["on_assign"](client, [TopicPartition("in", number) for number in range(3)])
    assert [(place.partition, place.offset) for place in client.assigned] == [(0, 0), (1, 0), (2, 0)]
    assert client.paused == client.assigned


def test_the_leaders_of_what_is_started_are_asked_for_something() -> None:
    """Else librdkafka's threads sleep for up to 1 s more: a partition that is resumed does not wake them."""
    client = Client()
    clients = Clients(KAFKA_CLIENTS.producer, lambda _: cast("Any", client), KAFKA_CLIENTS.admin)
    consumer = GroupConsumer("app", ["in"], load_settings(), Calls(clients=clients), Owner())
    assert consumer.start({("in", 0): 5, ("in", 1): 7})
    assert [(place.partition, place.offset) for place in client.sought] == [(0, 5), (1, 7)]
    assert client.done == ["seek", "seek", "resume", "offsets_for_times"]
