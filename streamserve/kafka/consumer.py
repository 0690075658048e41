"""The worker's membership in the consumer group: what it owns, what it polls, what is committed."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any, Protocol, cast

from confluent_kafka import OFFSET_END, Consumer, KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient

from streamserve.errors import ConfigurationError, MemberFenced, StreamserveError
from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import common_config, consumer_config
from streamserve.kafka.errors import UNREACHABLE, kafka_error, translate, translated
from streamserve.kafka.marks import Committed, OffsetMark, TopicPartitionKey
from streamserve.records import RawRecord
from streamserve.settings import Settings

_COMMITTED_SECONDS = 2.0
_REQUEST_SECONDS = 10.0
_WAKE_SECONDS = 2.0
"""librdkafka closes the connection on which a request is not answered in time."""
_FENCED = frozenset({KafkaError.FENCED_INSTANCE_ID, KafkaError._FATAL})  # noqa: SLF001 - librdkafka's public codes
"""A static member's only fatal error is that the group knows another one of its name."""
_NOT_YET = frozenset({KafkaError._STATE, KafkaError._PREV_IN_PROGRESS})  # noqa: SLF001 - librdkafka's public codes
"""A partition that was just assigned may not be ready for a seek yet."""


class Ownership(Protocol):
    """Who is told, inside the poll, what the group gives and takes."""

    def on_assigned(self, partitions: Sequence[TopicPartitionKey]) -> None:
        """``partitions`` are owned from now on; they stay paused until ``start``."""

    def on_revoked(self, partitions: Sequence[TopicPartitionKey], *, lost: bool) -> None:
        """``partitions`` leave; ``lost`` when others may own them already."""


class GroupConsumer:
    """A member of group ``app`` that reads ``topics``, once it was told to ``join``.

    Raises (from ``poll``): what a callback of ``Ownership`` raised; ``BrokerUnavailable`` and ``ConfigurationError``.
    """

    def __init__(
        self,
        app: str,
        topics: Sequence[str],
        settings: Settings,
        calls: Calls,
        ownership: Ownership,
        *,
        reports_ends: bool = False,
    ) -> None:
        self._app = app
        self._topics = topics
        self._settings = settings
        self._admin: AdminClient | None = None
        self._calls = calls
        self._brokers = settings.bootstrap_servers
        self._instance = settings.instance
        self._ownership = ownership
        self._failure: BaseException | None = None
        self._reports_ends = reports_ends
        self._at_end: set[TopicPartitionKey] = set()
        self._rebalances = 0
        with translated("open the consumer", self._brokers):
            config = {**consumer_config(settings, app), "enable.partition.eof": reports_ends}
            self._consumer = calls.clients.consumer(config)
        self._epoch_moves = config.get("group.protocol") == "consumer"
        self.membership: Any = None
        """The group metadata as of the last poll: to be committed with that poll's positions, and no others.

        The classic protocol's generation changes only with a rebalance that a poll tells of, so it is read then:
        reading it each time takes 4 % of a worker's time. The newer protocol moves a member's epoch without a word.
        """

    def join(self) -> None:
        """Become a member of the group; from now on it waits for this one's ``poll`` whenever its members change."""
        with translated("subscribe", self._brokers):
            self._calls(
                "consumer.subscribe",
                self._consumer.subscribe,
                list(self._topics),
                on_assign=self._on_assign,
                on_revoke=lambda _, partitions: self._on_revoke(partitions, lost=False),
                on_lost=lambda _, partitions: self._on_revoke(partitions, lost=True),
            )

    def _on_assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        self._guarded(lambda: self._assign(consumer, partitions))

    def _assign(self, consumer: Consumer, partitions: list[TopicPartition]) -> None:
        """Take over ``partitions``, all paused: where to start is read later, outside the callback.

        Until then they stand at an offset that the client need not ask for: its question would outlive the seek, and
        the answer, seconds later, would take the partition back to the beginning.

        They are paused before: between the two, the client would fetch from there, and where the broker has deleted
        what was there, give the partition up. Pausing passes over partitions that the client does not know
        (``rd_kafka_toppars_pause_resume`` in librdkafka 2.16).
        """
        paused = [TopicPartition(item.topic, item.partition, 0) for item in partitions]
        for item in paused:
            consumer.get_watermark_offsets(item, cached=True)  # asks nobody: makes the client know the partition
        consumer.pause(paused)
        self._calls("consumer.assign", consumer.assign, paused)
        self._ownership.on_assigned(_keys(partitions))

    def _on_revoke(self, partitions: list[TopicPartition], *, lost: bool) -> None:
        self._guarded(lambda: self._ownership.on_revoked(_keys(partitions), lost=lost))

    def _guarded(self, callback: Callable[[], None]) -> None:
        """Keep what a callback raises for ``poll``: the client must not see it inside the rebalance."""
        self._rebalances += 1
        self._at_end.clear()
        try:
            callback()
        except StreamserveError as error:
            self._failure = error
        except KafkaException as error:
            self._failure = translate(kafka_error(error), doing="rebalance", brokers=self._brokers)

    def poll(self, limit: int, wait_seconds: float) -> list[RawRecord]:
        """Return up to ``limit`` records; with none at hand wait up to ``wait_seconds`` for the first.

        What the client had at hand when partitions left in the same call is dropped: it belongs to who owns them next.
        """
        rebalances = self._rebalances
        with translated("poll", self._brokers):
            messages = self._calls("consumer.poll", self._poll, limit, wait_seconds)
            if self._epoch_moves or self._rebalances != rebalances or self.membership is None:
                self.membership = self._consumer.consumer_group_metadata()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure
        if self._rebalances != rebalances:
            messages = [message for message in messages if message.error() is not None]
        elif self._reports_ends:
            self._note_ends(messages)
        if any(map(Message.error, messages)):
            messages = [message for message in messages if not self._is_event(message)]
        return cast("list[RawRecord]", messages)

    def _poll(self, limit: int, wait_seconds: float) -> list[Message]:
        """``consume`` would wait for ``limit`` records or the whole time: so take what is there, then wait for one."""
        messages = self._consumer.consume(limit, 0)
        if messages or not wait_seconds:
            return messages
        first = self._consumer.poll(wait_seconds)
        if first is None:
            return []
        return [first, *self._consumer.consume(limit - 1, 0)] if limit > 1 else [first]

    def _note_ends(self, messages: Sequence[Message]) -> None:
        """Keep which partitions had nothing more when last fetched: their last message was an end, not a record."""
        for message in messages:
            key = (message.topic() or "", message.partition() or 0)
            error = message.error()
            if error is None:
                self._at_end.discard(key)
            elif error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public code
                self._at_end.add(key)

    def _is_event(self, message: Message) -> bool:
        """Return whether ``message`` is no record; raise when it is the end of this consumer."""
        error = message.error()
        if error is None:
            return False
        if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public code
            return True
        place = f"{message.topic()}[{message.partition()}]@{message.offset()}"
        if error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's public code
            raise ConfigurationError(
                f"{place}: {error.str()}. The committed offset is gone (deleted by retention or a new topic of the same"
                " name). Records in between are lost to this app; 'streamserve offsets reset MODULE:APP' sets"
                " where it goes on."
            )
        if error.code() in _FENCED or error.fatal():
            raise MemberFenced(
                f"{error.str()} ({error.name()}): another worker runs under the instance name {self._instance!r}."
                " Give each worker its own (STREAMSERVE_INSTANCE, or --workers N)."
            )
        if error.code() != KafkaError._ALL_BROKERS_DOWN and (error.code() in UNREACHABLE or error.retriable()):  # noqa: SLF001 - librdkafka's public code
            return True  # one of several brokers: the client goes on by itself
        raise translate(error, doing=f"read {place}", brokers=self._brokers)

    def caught_up(self, topics: Sequence[str]) -> dict[int, set[str]]:
        """Return, by partition, which of ``topics`` had nothing more when last fetched (with ``reports_ends``)."""
        ends: dict[int, set[str]] = {}
        for topic, partition in self._at_end:
            if topic in topics:
                ends.setdefault(partition, set()).add(topic)
        return ends

    def committed(
        self, partitions: Iterable[TopicPartitionKey], wait_seconds: float = _COMMITTED_SECONDS
    ) -> dict[TopicPartitionKey, Committed]:
        """Return the *stable* committed offsets: waits for transactions that are still open on them.

        Raises:
            BrokerUnavailable: not settled within ``wait_seconds``; ask again.
        """
        wanted = [TopicPartition(topic, partition) for topic, partition in partitions]
        with translated("read committed offsets", self._brokers):
            found = self._calls("consumer.committed", self._consumer.committed, wanted, wait_seconds)
        for item in found:
            if item.error is not None:
                raise translate(item.error, doing="read committed offsets", brokers=self._brokers)
        return {
            (item.topic, item.partition): Committed(
                item.offset if item.offset >= 0 else None, OffsetMark.decode(item.metadata)
            )
            for item in found
        }

    def members(self) -> set[str]:
        """Return the instance names of the group's members now.

        The client that asks is kept: one that is dropped right after its answer may leave events behind unserved.
        """
        client = self._admin_client()
        futures = client.describe_consumer_groups([self._app], request_timeout=_REQUEST_SECONDS)
        members: list[Any] = futures[self._app].result().members or []
        return {member.group_instance_id for member in members if member.group_instance_id}

    def _admin_client(self) -> Any:
        """Return the client for administration, made when it is needed first; its futures are untyped."""
        if self._admin is None:
            self._admin = self._calls.clients.admin({"log_level": 0, **common_config(self._settings)})
        return self._admin

    def delete_before(self, positions: Mapping[TopicPartitionKey, int]) -> None:
        """Ask the broker to delete the records before ``positions``; what it refuses is asked for again next time."""
        places = [TopicPartition(*key, offset) for key, offset in positions.items()]
        with translated("delete records that were read", self._brokers):
            self._calls("consumer.delete_records", self._admin_client().delete_records, places)

    def start(self, positions: Mapping[TopicPartitionKey, int]) -> bool:
        """Begin to read each partition at its position.

        Return ``False`` while the client is not ready for it: poll, then ask again.
        """
        seeks = [TopicPartition(*key, offset) for key, offset in positions.items()]
        with translated("seek", self._brokers):
            try:
                for place in seeks:
                    self._calls("consumer.seek", self._consumer.seek, place)
            except KafkaException as exception:
                if kafka_error(exception).code() in _NOT_YET:
                    return False
                raise
            self._consumer.resume([TopicPartition(topic, partition) for topic, partition in positions])
        self._wake(positions)
        return True

    def _wake(self, partitions: Iterable[TopicPartitionKey]) -> None:
        """Have the client fetch what was just resumed: its threads sleep for up to 1 s, until a broker says anything.

        librdkafka wakes them for requests and answers alone (``rd_kafka_broker_consumer_serve`` in 2.16). So their
        leaders are asked for something; measured until the first record: 4 ms instead of 1 s.
        """
        ends = [TopicPartition(*key, OFFSET_END) for key in partitions]
        with suppress(KafkaException):  # no answer: they wake by themselves
            self._calls("consumer.offsets_for_times", self._consumer.offsets_for_times, ends, _WAKE_SECONDS)

    def pause(self, partitions: Iterable[TopicPartitionKey]) -> None:
        """Stop fetching ``partitions`` for now."""
        places = [TopicPartition(topic, partition) for topic, partition in partitions]
        if places:
            with translated("pause", self._brokers):
                self._consumer.pause(places)

    def rest(self, partitions: Iterable[TopicPartitionKey]) -> None:
        """Fetch nothing of ``partitions`` until ``start`` says where to go on; what comes meanwhile is unknown."""
        self.pause(partitions)
        self._at_end.clear()

    def resume(self, partitions: Iterable[TopicPartitionKey]) -> None:
        """Go on fetching ``partitions`` where they were paused."""
        places = [TopicPartition(topic, partition) for topic, partition in partitions]
        if places:
            with translated("resume", self._brokers):
                self._consumer.resume(places)

    def beginning(self, partition: TopicPartitionKey) -> int:
        """Return the first offset that the broker still has.

        Raises:
            BrokerUnavailable: no answer in time.
        """
        place = TopicPartition(*partition)
        with translated("read the beginning", self._brokers):
            low, _ = self._calls("consumer.beginning", self._consumer.get_watermark_offsets, place, _REQUEST_SECONDS)
        return low

    def stable_end(self, partition: TopicPartitionKey) -> int:
        """Return a partition's last stable offset: what is below is decided, committed or aborted.

        Raises:
            BrokerUnavailable: no answer in time.
        """
        place = TopicPartition(*partition)
        with translated("read the stable end", self._brokers):
            _, end = self._calls("consumer.stable_end", self._consumer.get_watermark_offsets, place, _REQUEST_SECONDS)
        return end

    def end(self, partition: TopicPartitionKey) -> int | None:
        """Return the partition's end as of the last fetch, without asking the broker; ``None`` before the first."""
        with translated("read the end", self._brokers):
            _, high = self._consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
        return high if high >= 0 else None

    def close(self) -> None:
        """Let go; a static member keeps its place in the group for the session time-out.

        Raises:
            StreamserveError: the client did not close in order; it is of no use any more either way.
        """
        with translated("close", self._brokers):
            self._calls("consumer.close", self._consumer.close)


def _keys(partitions: Iterable[TopicPartition]) -> list[TopicPartitionKey]:
    return sorted((item.topic, item.partition) for item in partitions)
