"""Taking partitions over: settle what a dead owner left open, then read the committed offsets and the state.

The order matters: a dead owner's open transaction would keep the committed offsets unstable until its time-out, so
its transactional ids are fenced first; the offsets say from where on the state is read, up to the changelog's end.
Nothing here runs inside a rebalance callback, and one ``step`` is short: other partitions go on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import (
    Consumer,
    KafkaError,
    KafkaException,
    Message,
    Producer,
    TopicPartition,
)

from streamserve.errors import BrokerUnavailable, ConfigurationError
from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import producer_config, restore_config, transactional_ids
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.errors import UNREACHABLE, translated
from streamserve.kafka.marks import Committed, OffsetMark, TopicPartitionKey
from streamserve.settings import Settings

_REQUEST_SECONDS = 10.0
_READ_SECONDS = 0.05
_READ_RECORDS = 100


class StoredState(NamedTuple):
    """A state record: where it stands in its changelog's partition, and its value."""

    offset: int
    value: bytes


class StateReader:
    """Reads the last state records of partition groups from their changelog.

    Each is looked for from a known offset up to the changelog's end, and the end is as an *uncommitted* reader sees it:
    a record of a transaction whose markers are still on their way is waited for (KAFKA-10167).
    """

    def __init__(self, topic: str, settings: Settings, calls: Calls) -> None:
        self._topic = topic
        self._calls = calls
        self._brokers = settings.bootstrap_servers
        config = {**restore_config(settings, isolation="read_committed"), "auto.offset.reset": "earliest"}
        self._consumer = Consumer({**config, "enable.partition.eof": True})
        self._ends = Consumer(restore_config(settings, isolation="read_uncommitted"))
        self._wanted: dict[int, dict[bytes, int]] = {}
        self._open: dict[int, int] = {}
        self._found: dict[tuple[int, bytes], StoredState] = {}

    def request(self, wanted: Mapping[int, Mapping[bytes, int]]) -> None:
        """Begin to read; ``wanted`` has, by partition, each key and the offset from where on to look for it.

        Raises:
            ConfigurationError: the changelog ends before such an offset: it is not the one that was written.
            BrokerUnavailable: no broker answers.
        """
        self._wanted = {partition: dict(keys) for partition, keys in wanted.items()}
        with translated(f"restore from {self._topic!r}", self._brokers):
            self._open = {partition: self._end(partition) for partition in self._wanted}
        for partition, keys in self._wanted.items():
            for start in keys.values():
                if start >= self._open[partition]:
                    raise self._gone(partition, start)
        self._consumer.assign(
            [TopicPartition(self._topic, partition, min(keys.values())) for partition, keys in self._wanted.items()]
        )

    def _end(self, partition: int) -> int:
        place = TopicPartition(self._topic, partition)
        _, end = self._calls(
            "changelog.high_watermark", self._ends.get_watermark_offsets, place, _REQUEST_SECONDS, cached=False
        )
        return end

    def step(self) -> dict[tuple[int, bytes], StoredState] | None:
        """Read on for a moment; return all states by partition and key once they are complete.

        Raises:
            ConfigurationError: a state that must be there is not.
        """
        if self._open:
            with translated(f"restore from {self._topic!r}", self._brokers):
                for message in self._calls("changelog.read", self._read):
                    self._take(message)
        return None if self._open else self._checked()

    def _read(self) -> list[Message]:
        """``consume`` would wait for all of its records or the whole time: so take what is there, then wait for one."""
        messages = self._consumer.consume(_READ_RECORDS, 0)
        first = None if messages else self._consumer.poll(_READ_SECONDS)
        return messages if first is None else [first]

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._judge(message, error)
            return
        partition, key, value = message.partition(), message.key(), message.value()
        if partition is not None and key is not None and key in self._wanted.get(partition, {}):
            self._found[partition, key] = StoredState(message.offset() or 0, value or b"")

    def _judge(self, message: Message, error: KafkaError) -> None:
        """Note a partition's end; raise unless ``error`` passes by itself."""
        partition, code = message.partition() or 0, error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public code
            if (message.offset() or 0) >= self._open.get(partition, 0):
                self._open.pop(partition, None)
            return
        passes = code in UNREACHABLE or error.retriable()
        if not passes or code == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's public code
            raise KafkaException(error)

    def _checked(self) -> dict[tuple[int, bytes], StoredState]:
        """Return what was found, which must be all: compaction keeps the last record of a key."""
        for partition, keys in self._wanted.items():
            for key, start in keys.items():
                if (partition, key) not in self._found:
                    raise self._gone(partition, start)
        return self._found

    def _gone(self, partition: int, offset: int) -> ConfigurationError:
        return ConfigurationError(
            f"the state at {self._topic}[{partition}] from offset {offset} on, which the committed offsets name, is"
            " gone: was the changelog deleted, or is its cleanup.policy not 'compact'? To start with empty state,"
            " delete the group's committed offsets, or set them where the app shall go on."
        )

    def close(self) -> None:
        """Let go of the reader."""
        with translated(f"stop reading {self._topic!r}", self._brokers):
            self._consumer.close()
            self._ends.close()


class Takeover:
    """Reads where ``partitions`` were left: ``step`` until it returns ``True``, then see ``committed``."""

    def __init__(
        self,
        app: str,
        partitions: Sequence[TopicPartitionKey],
        consumer: GroupConsumer,
        settings: Settings,
        calls: Calls,
    ) -> None:
        self._app = app
        self._partitions = list(partitions)
        self._consumer = consumer
        self._settings = settings
        self._calls = calls
        self._fenced = False
        self.committed: dict[TopicPartitionKey, Committed] = {}

    def step(self) -> bool:
        """Do the next bounded piece of work; return whether all of it is done."""
        if not self._fenced:
            self._fence_dead_owners()
            self._fenced = True
            return False
        try:
            self.committed = self._consumer.committed(self._partitions)
        except BrokerUnavailable:
            self._fenced = False  # still unstable: someone may have died since we looked
            return False
        return True

    def _fence_dead_owners(self) -> None:
        """End the open transactions of last owners that are members no more, so that nobody waits for time-outs."""
        with translated("look for the partitions' last owners", self._settings.bootstrap_servers):
            owners = self._calls("group.last_owners", self._last_owners) - {self._settings.instance}
            for owner in owners - (self._calls("group.describe", self._consumer.members) if owners else set()):
                for transactional_id in transactional_ids(self._app, owner):
                    producer = Producer(producer_config(self._settings, transactional_id))
                    self._calls("fence.init_transactions", producer.init_transactions, _REQUEST_SECONDS)

    def _last_owners(self) -> set[str]:
        """Return who committed last, from offsets that need not be stable."""
        wanted = [TopicPartition(topic, partition) for topic, partition in self._partitions]
        config = restore_config(self._settings, isolation="read_uncommitted")
        reader = Consumer({**config, "group.id": self._app})
        try:
            found = reader.committed(wanted, _REQUEST_SECONDS)
        finally:
            reader.close()
        marks = [OffsetMark.decode(item.metadata) for item in found]
        return {mark.instance for mark in marks if mark is not None}
