"""What a member of the group does with partitions that it is given."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

from confluent_kafka import TopicPartition

from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.settings import load_settings


class Client:
    """Notes what the engine asks of the client."""

    def __init__(self) -> None:
        self.callbacks: dict[str, Any] = {}
        self.assigned: list[TopicPartition] = []
        self.paused: list[TopicPartition] = []

    def subscribe(self, topics: Sequence[str], **callbacks: Any) -> None:
        del topics
        self.callbacks = callbacks

    def assign(self, places: list[TopicPartition]) -> None:
        self.assigned = places

    def pause(self, places: list[TopicPartition]) -> None:
        self.paused = places


class Owner:
    def on_assigned(self, partitions: Sequence[TopicPartitionKey]) -> None: ...

    def on_revoked(self, partitions: Sequence[TopicPartitionKey], *, lost: bool) -> None: ...


def test_what_is_given_waits_at_an_offset_that_the_client_need_not_ask_for() -> None:
    """Asked for a logical offset, librdkafka may answer after the seek, and go back to the beginning by itself."""
    client = Client()
    clients = Clients(KAFKA_CLIENTS.producer, lambda _: cast("Any", client), KAFKA_CLIENTS.admin)
    settings = load_settings(command_line={"instance": "w0"})
    GroupConsumer("app", ["in"], settings, Calls(clients=clients), Owner())
    client.callbacks["on_assign"](client, [TopicPartition("in", number) for number in range(3)])
    assert [(place.partition, place.offset) for place in client.assigned] == [(0, 0), (1, 0), (2, 0)]
    assert client.paused == client.assigned
