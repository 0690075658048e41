"""Read topics and committed offsets back, as an independent reader sees them.

Shares no code with the engine: its own clients, its own loop. A read is bounded by the high watermarks found at its
start, as a ``read_uncommitted`` reader sees them; a ``read_committed`` read waits until every transaction open below
them has ended, so that nothing decided later is missed (the bound that Kafka Streams restores to, KAFKA-10167).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from typing import Literal, NamedTuple, TypeAlias, TypeVar, cast

from confluent_kafka import (
    OFFSET_BEGINNING,
    Consumer,
    ConsumerGroupTopicPartitions,
    KafkaError,
    KafkaException,
    Message,
    TopicPartition,
)
from confluent_kafka.admin import AdminClient

from streamserve.errors import BrokerUnavailable, OutageError, TopicError

Isolation: TypeAlias = Literal["read_committed", "read_uncommitted"]
ClientConfig: TypeAlias = Mapping[str, str | int | float | bool]
"""Further librdkafka settings for every client, such as security; they win over the defaults here."""

_ANSWER_S = 10.0
_SETTLED_S = 60.0
"""How long a leader or coordinator may be chosen; a broker of a busy machine has taken more than ten seconds."""
_BATCH = 10_000
_POLL_S = 0.1


_PASSING = {
    KafkaError.NOT_LEADER_FOR_PARTITION,
    KafkaError.LEADER_NOT_AVAILABLE,
    KafkaError.NOT_COORDINATOR,
    KafkaError.COORDINATOR_NOT_AVAILABLE,
    KafkaError.COORDINATOR_LOAD_IN_PROGRESS,
}

_T = TypeVar("_T")


class ReadRecord(NamedTuple):
    """One record as it stands in a topic; ``timestamp_ms`` is since the epoch, UTC."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, str | bytes | None]]
    timestamp_ms: int


def read_topic(
    brokers: str,
    topic: str,
    *,
    isolation: Isolation = "read_committed",
    deadline_s: float = 60.0,
    config: ClientConfig | None = None,
) -> list[ReadRecord]:
    """Return every record of ``topic`` up to its end, partitions interleaved, each in offset order.

    See ``iter_topic`` for errors; that one does not keep the records in memory.
    """
    return list(iter_topic(brokers, topic, isolation=isolation, deadline_s=deadline_s, config=config))


def iter_topic(
    brokers: str,
    topic: str,
    *,
    isolation: Isolation = "read_committed",
    starts: Mapping[tuple[str, int], int] | None = None,
    ends: Mapping[tuple[str, int], int] | None = None,
    deadline_s: float = 60.0,
    config: ClientConfig | None = None,
) -> Iterator[ReadRecord]:
    """Yield every record of ``topic`` below ``ends`` (from ``end_offsets``; by default its end now).

    ``starts`` are the ends of an earlier read, where this one goes on; by default it begins at the beginning.

    Raises ``OutageError`` when a partition has stood still for ``deadline_s`` seconds before its end, as it does
    behind a transaction that nobody ends; ``BrokerUnavailable`` and ``TopicError`` as ``end_offsets`` does.
    """
    if ends is None:
        ends = end_offsets(brokers, [topic], config=config)
    goals = {partition: end for (name, partition), end in ends.items() if name == topic}
    left = {partition: (starts or {}).get((topic, partition), 0) for partition in goals}
    left = {partition: start for partition, start in left.items() if start < goals[partition]}
    if not left:
        return
    with _consumer(brokers, {**(config or {}), "isolation.level": isolation}) as consumer:
        _partitions(consumer, brokers, topic)  # with its leaders known, the client asks for the beginning at once
        consumer.assign([TopicPartition(topic, place, start or OFFSET_BEGINNING) for place, start in left.items()])
        yield from _read_to(consumer, topic, left, goals, deadline_s)


def end_offsets(
    brokers: str, topics: Sequence[str], *, config: ClientConfig | None = None
) -> dict[tuple[str, int], int]:
    """Return the high watermark of every partition, open and aborted transactions included.

    Raises ``BrokerUnavailable`` if no broker answers and ``TopicError`` if a topic does not exist.
    """
    with _consumer(brokers, {**(config or {}), "isolation.level": "read_uncommitted"}) as consumer:
        return {
            (topic, partition): _high_watermark(consumer, topic, partition)
            for topic in topics
            for partition in _partitions(consumer, brokers, topic)
        }


def committed_offsets(
    brokers: str,
    group: str,
    topics: Sequence[str] | None = None,
    *,
    deadline_s: float = 60.0,
    config: ClientConfig | None = None,
) -> dict[tuple[str, int], int]:
    """Return the stable committed offsets of consumer group ``group``; partitions without one are left out.

    An offset is stable when no transaction that commits it is open. Name the ``topics``: without them the broker
    answers for what the group has already committed, and passes over a first commit that is still open.

    Raises ``OutageError`` if the offsets do not become stable for ``deadline_s`` seconds, ``BrokerUnavailable`` if no
    broker answers and ``TopicError`` if one of ``topics`` does not exist.
    """
    places = None if topics is None else [TopicPartition(*at) for at in end_offsets(brokers, topics, config=config)]
    admin = AdminClient({"bootstrap.servers": brokers, **(config or {})})
    give_up = time.monotonic() + deadline_s
    while True:
        offsets = _stable_offsets(admin, brokers, ConsumerGroupTopicPartitions(group, places))
        if offsets is not None:
            return offsets
        if time.monotonic() > give_up:
            raise OutageError(
                f"the offsets of group {group} were not stable for {deadline_s:g} s: a transaction that commits them "
                "is open; wait for its timeout or abort it"
            )
        time.sleep(_POLL_S)


@contextmanager
def _consumer(brokers: str, config: ClientConfig) -> Generator[Consumer]:
    """Open a consumer that belongs to no group, and close it at the end."""
    consumer = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "streamserve-checks",  # the client asks for one; nothing joins or commits under it
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "auto.offset.reset": "earliest",
            "fetch.queue.backoff.ms": 5,
            "fetch.wait.max.ms": 10,  # an end is told by an empty answer, for which the broker takes 500 ms by default
            "enable.sparse.connections": False,  # the default waits 50 ms between one connection and the next
            "queued.min.messages": 100_000,
            **config,
        }
    )
    try:
        yield consumer
    finally:
        consumer.close()


def _read_to(
    consumer: Consumer, topic: str, left: dict[int, int], goals: Mapping[int, int], deadline_s: float
) -> Iterator[ReadRecord]:
    """Yield records until every partition that is ``left`` has passed its goal."""
    partitions = [TopicPartition(topic, partition) for partition in left]
    moved = time.monotonic()
    while left:
        ends_seen: dict[int, int] = {}
        for message in _next_messages(consumer):
            if message.error() is not None:
                partition, offset = _partition_end(message)
                ends_seen[partition] = offset
                continue
            record = _record(message)
            if record.offset < goals[record.partition]:
                yield record
        now = _positions(consumer, partitions, ends_seen, left)
        if now != left:
            moved = time.monotonic()
        left = {partition: at for partition, at in now.items() if at < goals[partition]}
        if left and time.monotonic() - moved > deadline_s:
            raise OutageError(_stuck(topic, left, goals, deadline_s))


def _next_messages(consumer: Consumer) -> list[Message]:
    """Take what is there; wait a little only if nothing is (``consume`` with a timeout waits for a full batch)."""
    messages = consumer.consume(_BATCH, 0)
    if messages:
        return messages
    message = consumer.poll(_POLL_S)
    return [] if message is None else [message]


def _record(message: Message) -> ReadRecord:
    headers = cast("Sequence[tuple[str, str | bytes | None]]", message.headers() or ())
    return ReadRecord(
        message.topic() or "",
        cast("int", message.partition()),
        cast("int", message.offset()),
        message.key(),
        message.value(),
        headers,
        message.timestamp()[1],
    )


def _partition_end(message: Message) -> tuple[int, int]:
    """Return the partition and the offset at which its end was met, or raise the error that ``message`` stands for."""
    error = cast("KafkaError", message.error())
    if error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's public constants begin so
        raise OutageError(f"reading {message.topic()}[{message.partition()}] failed: {error.name()}; is the broker up?")
    return cast("int", message.partition()), cast("int", message.offset())


def _positions(
    consumer: Consumer, partitions: list[TopicPartition], ends_seen: Mapping[int, int], left: Mapping[int, int]
) -> dict[int, int]:
    """Return how far each partition that is ``left`` has been read.

    Transaction markers move the position, and the end event tells of those that compaction has removed.
    """
    positions = {place.partition: place.offset for place in consumer.position(partitions)}
    return {partition: max(at, positions[partition], ends_seen.get(partition, 0)) for partition, at in left.items()}


def _stuck(topic: str, left: Mapping[int, int], goals: Mapping[int, int], deadline_s: float) -> str:
    places = ", ".join(f"{topic}[{partition}] at {at} of {goals[partition]}" for partition, at in left.items())
    return (
        f"no progress for {deadline_s:g} s: {places}; an open transaction holds readers back, or the broker is away. "
        "Wait for the transaction's timeout, or abort it"
    )


def _partitions(consumer: Consumer, brokers: str, topic: str) -> list[int]:
    metadata = _answer(brokers, lambda: consumer.list_topics(topic, timeout=_ANSWER_S)).topics[topic]
    if metadata.error is not None:
        raise TopicError(f"topic {topic} does not exist on {brokers}; create it or correct its name")
    return sorted(metadata.partitions)


def _high_watermark(consumer: Consumer, topic: str, partition: int) -> int:
    place = TopicPartition(topic, partition)
    low_high = _answer(
        f"the leader of {topic}[{partition}]",
        lambda: consumer.get_watermark_offsets(place, timeout=_ANSWER_S, cached=False),
    )
    if not low_high:  # None on a timeout, whatever the client's types say
        raise BrokerUnavailable(f"the leader of {topic}[{partition}] does not answer; start it or try again")
    low, high = low_high
    return high if high > low else 0


def _stable_offsets(
    admin: AdminClient, brokers: str, asked: ConsumerGroupTopicPartitions
) -> dict[tuple[str, int], int] | None:
    """Ask once; ``None`` while a transaction that commits offsets of the group is open."""
    places = _answer(brokers, lambda: _group_offsets(admin, asked)).topic_partitions or []
    errors = [place.error.code() for place in places if place.error is not None]
    if any(code != KafkaError.UNSTABLE_OFFSET_COMMIT for code in errors):
        raise OutageError(f"the broker refuses the offsets of group {asked.group_id}: error {errors[0]}")
    return None if errors else {(place.topic, place.partition): place.offset for place in places if place.offset >= 0}


def _group_offsets(admin: AdminClient, asked: ConsumerGroupTopicPartitions) -> ConsumerGroupTopicPartitions:
    ask = admin.list_consumer_group_offsets  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType]
    answers = cast(
        "Mapping[str, Future[ConsumerGroupTopicPartitions]]",
        ask([asked], require_stable=True, request_timeout=_ANSWER_S),
    )
    return answers[asked.group_id].result()


def _answer(whom: str, ask: Callable[[], _T]) -> _T:
    """Ask until ``whom`` answers, over the moments in which a leader or coordinator is being chosen."""
    give_up = time.monotonic() + _SETTLED_S
    while True:
        try:
            return ask()
        except KafkaException as error:
            cause = cast("KafkaError", error.args[0])
            if cause.code() not in _PASSING or time.monotonic() > give_up:
                raise BrokerUnavailable(
                    f"no answer from {whom} ({cause.name()}); start the broker or correct --brokers"
                ) from error
        time.sleep(_POLL_S)
