"""Taking partitions over: settle what a dead owner left open, then read the committed offsets and the state.

The order matters: a dead owner's open transaction would keep the committed offsets unstable until its time-out, so
its transactional ids are fenced first; the offsets name the state record; a ``read_committed`` reader waits for it.
Nothing here runs inside a rebalance callback, and one ``step`` is short: other partitions go on.
"""

from __future__ import annotations

from collections.abc import Sequence

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


class StateReader:
    """Reads single state records of a changelog by their offsets."""

    def __init__(self, topic: str, settings: Settings, calls: Calls) -> None:
        self._topic = topic
        self._calls = calls
        self._brokers = settings.bootstrap_servers
        self._consumer = Consumer(
            {**restore_config(settings, isolation="read_committed"), "enable.partition.eof": True}
        )
        self._wanted: dict[int, dict[int, bytes]] = {}
        self._found: dict[tuple[int, bytes], bytes] = {}

    def request(self, wanted: dict[int, dict[int, bytes]]) -> None:
        """Begin to read; ``wanted`` has the key expected at each offset of each partition."""
        self._wanted = {partition: dict(offsets) for partition, offsets in wanted.items() if offsets}
        starts = [TopicPartition(self._topic, part, min(offsets)) for part, offsets in self._wanted.items()]
        self._consumer.assign(starts)

    def step(self) -> dict[tuple[int, bytes], bytes] | None:
        """Read on for a moment; return all states by partition and key once they are complete."""
        if self._wanted:
            with translated(f"restore from {self._topic!r}", self._brokers):
                for message in self._calls("changelog.read", self._read):
                    self._take(message)
        return None if self._wanted else self._found

    def _read(self) -> list[Message]:
        """``consume`` would wait for all of its records or the whole time: so take what is there, then wait for one."""
        messages = self._consumer.consume(_READ_RECORDS, 0)
        first = None if messages else self._consumer.poll(_READ_SECONDS)
        return messages if first is None else [first]

    def _gone(self, partition: int, offset: int) -> ConfigurationError:
        return ConfigurationError(
            f"the state at {self._topic}[{partition}]@{offset}, which the committed offsets name, is gone: was the"
            " changelog deleted, or is its cleanup.policy not 'compact'? To start with empty state, delete the group's"
            " committed offsets, or set them where the app shall go on."
        )

    def _take(self, message: Message) -> None:
        error = message.error()
        if error is not None:
            self._judge(message, error)
            return
        partition, offset, key, value = message.partition(), message.offset(), message.key(), message.value()
        offsets = self._wanted.get(partition) if partition is not None else None
        if partition is None or offset is None or not offsets or offsets.get(offset) != key or key is None:
            return
        self._found[partition, key] = value or b""
        del offsets[offset]
        if not offsets:
            del self._wanted[partition]

    def _judge(self, message: Message, error: KafkaError) -> None:
        """Raise unless ``error`` passes by itself; at the partition's end nothing more will come."""
        partition, code = message.partition() or 0, error.code()
        wanted = max(self._wanted.get(partition, [-1]))
        is_end = code == KafkaError._PARTITION_EOF  # noqa: SLF001 - librdkafka's public code
        is_past = is_end and 0 <= wanted < (message.offset() or 0)
        if is_past or code == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - librdkafka's public code
            raise self._gone(partition, wanted)
        passes = is_end or code in UNREACHABLE or error.retriable()
        if not passes or code == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's public code
            raise KafkaException(error)

    def close(self) -> None:
        """Let go of the reader."""
        with translated(f"stop reading {self._topic!r}", self._brokers):
            self._consumer.close()


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
