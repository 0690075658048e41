"""Writes a few records outside any transaction: test events, put on a topic by hand."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from confluent_kafka import KafkaError, Message, Producer

from streamserve.errors import BrokerUnavailable
from streamserve.kafka.clients import MAX_MESSAGE_BYTES, common_config
from streamserve.kafka.errors import translate, translated
from streamserve.records import Coordinates, Emission
from streamserve.settings import Settings

__all__ = ["send_emissions", "send_records"]

_DELIVERY_SECONDS = 10


def send_records(settings: Settings, topic: str, records: Sequence[tuple[bytes | None, bytes]]) -> list[Coordinates]:
    """Write ``records``, each a key and a value, to ``topic`` in order; return where each went.

    Keys are partitioned as by the app's own producers and Java's clients. When this raises, some may be written.

    Raises:
        BrokerUnavailable: no broker answers.
        ConfigurationError: the topic does not exist, or the broker refuses the client.
        TransactionAborted: the broker refuses a record for another reason, which the text names.
    """
    return send_emissions(settings, [Emission(topic, value, key) for key, value in records])


def send_emissions(settings: Settings, emissions: Sequence[Emission]) -> list[Coordinates]:
    """Write ``emissions``, each to its topic, as ``send_records`` does; return where each went."""
    topics = ", ".join(dict.fromkeys(repr(emission.topic) for emission in emissions))
    doing, brokers = f"send to topic {topics}", settings.bootstrap_servers
    places: list[Coordinates | None] = [None] * len(emissions)
    refused: list[KafkaError] = []

    def delivered(index: int, error: KafkaError | None, message: Message) -> None:
        if error is not None:
            refused.append(error)
        else:
            topic = emissions[index].topic
            places[index] = Coordinates(topic, message.partition() or 0, message.offset() or 0)

    with translated(doing, brokers):
        producer = Producer(_config(settings))
        for index, emission in enumerate(emissions):
            _produce(producer, emission, partial(delivered, index))
        producer.flush(2 * _DELIVERY_SECONDS)
    if refused:
        raise translate(refused[0], doing=doing, brokers=brokers)
    written = [place for place in places if place is not None]
    if len(written) < len(emissions):
        raise BrokerUnavailable(f"{doing}: no answer from {brokers} for {len(emissions) - len(written)} records")
    return written


def _produce(producer: Producer, emission: Emission, delivered: Any) -> None:
    """Hand one record to the producer, waiting while its queue is full."""
    while True:
        try:
            producer.produce(
                emission.topic,
                emission.value,
                emission.key,
                headers=list(emission.headers),
                timestamp=emission.timestamp_ms,
                on_delivery=delivered,
            )
            producer.poll(0)
        except BufferError:
            producer.poll(0.1)
        else:
            return


def _config(settings: Settings) -> dict[str, Any]:
    return {
        "partitioner": "murmur2_random",
        "enable.idempotence": True,
        "message.timeout.ms": _DELIVERY_SECONDS * 1000,
        "message.max.bytes": MAX_MESSAGE_BYTES,
        "log_level": 0,  # what fails is raised, and what is retried need not be told
        **common_config(settings),
    }
