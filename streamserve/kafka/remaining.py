"""How many records lie between an offset and the end: markers of transactions take offsets too, and are none."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from confluent_kafka import Consumer, KafkaError, Message, TopicPartition

from streamserve.kafka.clients import KAFKA_CLIENTS, Clients, restore_config
from streamserve.kafka.errors import translated
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.settings import Settings

__all__ = ["remaining"]

_PATIENCE_SECONDS = 5.0
_READ_RECORDS = 1000
_POLL_SECONDS = 0.1
_A_LITTLE = {"fetch.message.max.bytes": 1024, "queued.min.messages": 1, "enable.partition.eof": True}
"""One batch of each partition is enough, and the broker gives a whole one whatever is asked for."""


def remaining(
    group: str,
    settings: Settings,
    spans: Mapping[TopicPartitionKey, tuple[int, int]],
    clients: Clients = KAFKA_CLIENTS,
) -> dict[TopicPartitionKey, int]:
    """Return how many records at most a ``read_committed`` reader of each span has before it: exactly 0 where none.

    A span goes from an offset to the last stable one. The first record of each is looked for: what is before it counts
    no more, and where there is none nothing does. Behind it, markers and gaps of compaction are counted still. One
    that does not tell within 5 s keeps its whole length.

    Raises:
        BrokerUnavailable: no broker answers.
    """
    left = {place: max(0, end - start) for place, (start, end) in spans.items()}
    open_ones = {place: spans[place] for place, length in left.items() if length}
    if not open_ones:
        return left
    with translated("look at what waits", settings.bootstrap_servers):
        reader = clients.consumer({**restore_config(settings, group, isolation="read_committed"), **_A_LITTLE})
        try:
            reader.assign([TopicPartition(*place, start) for place, (start, _) in open_ones.items()])
            left |= _first_records(reader, open_ones)
        finally:
            reader.close()
    return left


def _first_records(
    reader: Consumer, spans: Mapping[TopicPartitionKey, tuple[int, int]]
) -> dict[TopicPartitionKey, int]:
    """Return how far the first record of each span is from its end, as far as they are found in time."""
    found: dict[TopicPartitionKey, int] = {}
    give_up = time.monotonic() + _PATIENCE_SECONDS
    while found.keys() < spans.keys() and time.monotonic() < give_up:
        fresh = {
            place: length
            for message in _read(reader)
            if (place := _place(message)) not in found
            if (length := _length(message, spans[place][1])) is not None
        }
        for place, length in fresh.items():
            found.setdefault(place, length)
        reader.pause([TopicPartition(*place) for place in fresh])
    return found


def _read(reader: Consumer) -> Sequence[Message]:
    """Return what is there in reverse, so that of each partition the first record is taken last."""
    messages = reader.consume(_READ_RECORDS, 0)
    first = None if messages else reader.poll(_POLL_SECONDS)
    return list(reversed(messages)) if messages else [] if first is None else [first]


def _place(message: Message) -> TopicPartitionKey:
    return message.topic() or "", message.partition() or 0


def _length(message: Message, end: int) -> int | None:
    """Return what ``message`` says is left: a record everything from itself on, the partition's end nothing."""
    error, offset = message.error(), message.offset() or 0
    if error is None:
        return max(0, end - offset)
    at_end = error.code() == KafkaError._PARTITION_EOF and offset >= end  # noqa: SLF001 - librdkafka's public code
    return 0 if at_end else None
