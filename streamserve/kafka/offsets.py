"""The committed offsets of an app's group: to look at, and to set while nobody is in the group."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, NamedTuple, TypeAlias

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, KafkaError, KafkaException, TopicPartition

from streamserve.durations import to_milliseconds
from streamserve.errors import BrokerUnavailable, ConfigurationError
from streamserve.kafka.admin import Admin
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients, common_config, restore_config
from streamserve.kafka.errors import kafka_error, translate, translated
from streamserve.kafka.marks import OffsetMark, TopicPartitionKey
from streamserve.kafka.remaining import remaining
from streamserve.records import to_epoch_ms
from streamserve.settings import Settings

__all__ = ["GroupOffsets", "NewOffset", "PartitionOffsets", "Target"]

Target: TypeAlias = Literal["earliest", "latest", "committed"] | int | datetime
"""Where a group shall go on: at an offset, at the first record that is not older than a time, or where it stands."""

_SECONDS = 10.0
_IN_USE = frozenset(
    {
        KafkaError.UNKNOWN_MEMBER_ID,
        KafkaError.NON_EMPTY_GROUP,
        KafkaError.ILLEGAL_GENERATION,
        KafkaError.STALE_MEMBER_EPOCH,
    }
)


@dataclass(frozen=True, slots=True)
class PartitionOffsets:
    """Where a group stands in one partition, and the log around it.

    ``end`` is the last stable offset, ``waiting`` the records up to it (at most; exactly 0 where there are none).
    ``mark`` is ``None`` where nothing of ours is stored beside the offset; ``trouble`` says why it cannot be read.
    """

    topic: str
    partition: int
    committed: int | None
    mark: OffsetMark | None
    beginning: int
    end: int
    waiting: int
    trouble: str | None = None

    @property
    def stands_at(self) -> int:
        """Return where the group goes on: at its committed offset, as far as the log still has it."""
        return self.beginning if self.committed is None else max(self.beginning, self.committed)

    @property
    def place(self) -> TopicPartitionKey:
        """Return topic and partition."""
        return self.topic, self.partition


class NewOffset(NamedTuple):
    """An offset to commit, with the metadata that stands beside it."""

    offset: int
    metadata: str


class GroupOffsets:
    """Reads and sets the committed offsets of ``group``.

    Raises (from every method):
        BrokerUnavailable: no broker answers, or an open transaction holds the offsets.
    """

    def __init__(self, group: str, settings: Settings, clients: Clients = KAFKA_CLIENTS) -> None:
        self._group = group
        self._settings = settings
        self._clients = clients
        self._brokers = settings.bootstrap_servers
        self._seconds = min(_SECONDS, to_milliseconds(settings.shutdown_timeout) / 1000)
        with translated("open an admin client", self._brokers):
            config = {"log_level": 0, **common_config(settings)}  # what fails is raised
            self._client: Any = clients.admin(config)  # its futures are untyped

    def look(self, topics: Sequence[str]) -> list[PartitionOffsets]:
        """Return where the group stands in every partition of ``topics``; offsets are the *stable* ones."""
        found = Admin(self._settings, self._clients).partitions()
        wanted = [TopicPartition(topic, number) for topic in topics for number in range(found.get(topic, 0))]
        reader = self._reader()
        try:
            with translated("read committed offsets", self._brokers):
                items = self._committed(reader, wanted) if wanted else []
                logs = {
                    (item.topic, item.partition): reader.get_watermark_offsets(item, self._seconds) for item in items
                }
        finally:
            reader.close()
        spans = {(item.topic, item.partition): _span(item, *logs[item.topic, item.partition]) for item in items}
        left = remaining(self._group, self._settings, spans, self._clients)
        return [_looked_at(item, *logs[item.topic, item.partition], left[item.topic, item.partition]) for item in items]

    def _committed(self, reader: Consumer, wanted: list[TopicPartition]) -> list[TopicPartition]:
        try:
            return reader.committed(wanted, self._seconds)
        except KafkaException as exception:
            if kafka_error(exception).code() != KafkaError._TIMED_OUT:  # noqa: SLF001 - librdkafka's public code
                raise
            raise BrokerUnavailable(
                f"committed offsets of group {self._group!r}: no answer in {self._seconds:.0f} s; they may be held by a"
                " transaction that is open. 'streamserve transactions list MODULE:APP' tells whose, and ends it."
            ) from exception

    def members(self) -> list[str]:
        """Return the names of the group's members: of static ones their instance names."""
        future = self._client.describe_consumer_groups([self._group], request_timeout=self._seconds)[self._group]
        with translated(f"look at the members of group {self._group!r}", self._brokers):
            members: list[Any] = future.result(self._seconds).members or []
        return sorted(member.group_instance_id or member.client_id for member in members)

    def resolve(self, target: Target, places: Iterable[PartitionOffsets]) -> dict[TopicPartitionKey, int]:
        """Return the offset that ``target`` means in each of ``places``.

        Raises:
            ConfigurationError: a partition does not reach to an offset that is asked for.
        """
        known = list(places)
        match target:
            case "earliest":
                return {one.place: one.beginning for one in known}
            case "latest":
                return {one.place: one.end for one in known}
            case "committed":
                return {one.place: one.stands_at for one in known}
            case datetime():
                return self._since(target, known)
            case _:
                return {one.place: _within(target, one) for one in known}

    def _since(self, instant: datetime, places: Sequence[PartitionOffsets]) -> dict[TopicPartitionKey, int]:
        reader, epoch_ms = self._reader(), to_epoch_ms(instant)
        try:
            with translated("search by time", self._brokers):
                found = reader.offsets_for_times(
                    [TopicPartition(*one.place, epoch_ms) for one in places], self._seconds
                )
        finally:
            reader.close()
        offsets = {(item.topic, item.partition): item.offset for item in found}
        return {one.place: one.end if offsets[one.place] < 0 else offsets[one.place] for one in places}

    def _reader(self) -> Consumer:
        with translated("open a reader", self._brokers):
            return self._clients.consumer(restore_config(self._settings, self._group, isolation="read_committed"))

    def set(self, offsets: Mapping[TopicPartitionKey, NewOffset]) -> None:
        """Commit ``offsets``; the broker refuses it while the group has members.

        Raises:
            ConfigurationError: it has members.
        """
        wanted = [TopicPartition(*place, new.offset, metadata=new.metadata) for place, new in offsets.items()]
        request = ConsumerGroupTopicPartitions(self._group, wanted)
        doing = f"set offsets of group {self._group!r}"
        try:
            [future] = self._client.alter_consumer_group_offsets([request], request_timeout=self._seconds).values()
            done: list[Any] = future.result(self._seconds).topic_partitions
        except KafkaException as exception:
            raise self._refused(kafka_error(exception), doing) from exception
        except TimeoutError as error:
            raise BrokerUnavailable(f"{doing}: no answer from {self._brokers}") from error
        for item in done:
            if item.error is not None:
                raise self._refused(item.error, f"{doing}: {item.topic}[{item.partition}]")

    def _refused(self, error: KafkaError, doing: str) -> Exception:
        return (
            in_use(self._group, self.members())
            if error.code() in _IN_USE
            else translate(error, doing=doing, brokers=self._brokers)
        )


def in_use(group: str, members: Sequence[str]) -> ConfigurationError:
    """Say that the group's offsets cannot be set now."""
    who = ", ".join(members) or "somebody who has just joined"
    return ConfigurationError(
        f"group {group!r} has members ({who}), who would commit over what is set: stop all workers first. A worker"
        " that was stopped is a member until its session time-out (10 s by default) has passed."
    )


def _span(item: TopicPartition, low: int, high: int) -> tuple[int, int]:
    return (low if item.offset < 0 else max(low, item.offset)), high


def _looked_at(item: TopicPartition, low: int, high: int, waiting: int) -> PartitionOffsets:
    committed = item.offset if item.offset >= 0 else None
    try:
        mark, trouble = OffsetMark.decode(item.metadata), None
    except ConfigurationError as error:
        mark, trouble = None, str(error)
    return PartitionOffsets(item.topic, item.partition, committed, mark, low, high, waiting, trouble)


def _within(offset: int, one: PartitionOffsets) -> int:
    if one.beginning <= offset <= one.end:
        return offset
    raise ConfigurationError(
        f"{one.topic}[{one.partition}] has offsets from {one.beginning} to {one.end}, so {offset} is no place to go on:"
        " choose one of them, earliest or latest"
    )
