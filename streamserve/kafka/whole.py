"""Reading partitions as a whole: from given offsets to the end that each had when the reading began."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition

from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import common_config, restore_config
from streamserve.kafka.errors import UNREACHABLE, translated
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.settings import Settings

_REQUEST_SECONDS = 10.0
READ_SECONDS = 0.05
"""How long one piece of reading takes: what else the worker does goes on in between."""


class WholeReader:
    """Reads what is committed in ``begin``'s partitions, up to the end that an *uncommitted* reader saw then.

    A record of a transaction whose markers are still on their way is waited for (KAFKA-10167), and so is whoever else
    keeps a transaction open there. The end is told by position: compaction and markers leave gaps between offsets.

    Raises (from every method):
        BrokerUnavailable: no broker answers.
        ConfigurationError: the broker refuses the reader, or a topic is gone.
    """

    def __init__(self, app: str, settings: Settings, calls: Calls, **config: Any) -> None:
        self._calls = calls
        self._brokers = settings.bootstrap_servers
        reader = {**restore_config(settings, app, isolation="read_committed"), **config, **common_config(settings)}
        with translated("open the readers of changelogs", self._brokers):
            self._ends = calls.clients.consumer(  # is asked, never polled: what it would tell waited for ever
                {**restore_config(settings, app, isolation="read_uncommitted"), "log_level": 0}
            )
            self._consumer = calls.clients.consumer(
                {**reader, "auto.offset.reset": "earliest", "enable.partition.eof": True}
            )
        self.unread: dict[TopicPartitionKey, int] = {}
        """The end of each partition that is not read to it yet."""

    def ends(self, topic: str, partition: int) -> tuple[int, int]:
        """Return the first offset of a partition and the one after its last."""
        with translated(f"read the end of {topic}[{partition}]", self._brokers):
            return self._calls(
                "changelog.high_watermark",
                self._ends.get_watermark_offsets,
                TopicPartition(topic, partition),
                _REQUEST_SECONDS,
                cached=False,
            )

    def first_since(self, topic: str, partition: int, epoch_ms: int) -> int | None:
        """Return the offset of a partition's first record that is not older than ``epoch_ms``; ``None`` without one."""
        with translated(f"search {topic}[{partition}] by time", self._brokers):
            [found] = self._ends.offsets_for_times([TopicPartition(topic, partition, epoch_ms)], _REQUEST_SECONDS)
        return found.offset if found.offset >= 0 else None

    def begin(self, starts: Mapping[TopicPartitionKey, int], ends: Mapping[TopicPartitionKey, int]) -> None:
        """Start to read from each of ``starts`` up to its end."""
        self.unread = {place: ends[place] for place in starts}
        with translated("read changelogs", self._brokers):
            self._consumer.assign([TopicPartition(*place, offset) for place, offset in starts.items()])

    def leave(self, places: Iterable[TopicPartitionKey]) -> None:
        """Stop fetching ``places``; what is at hand of them may still come."""
        with translated("stop reading changelogs", self._brokers):
            self._consumer.pause([TopicPartition(*place) for place in places])

    def read(self, limit: int, wait_seconds: float = READ_SECONDS) -> list[Message]:
        """Return up to ``limit`` records; with none at hand wait up to ``wait_seconds`` for the first.

        Some may lie behind the end.
        """
        with translated("read changelogs", self._brokers):
            messages = self._calls("changelog.read", self._read, limit, wait_seconds)
            errors = [message for message in messages if message.error() is not None]
            if not errors:
                return messages
            for message in errors:
                self._judge(message, message.error())
        return [message for message in messages if message.error() is None]

    def _read(self, limit: int, wait_seconds: float) -> list[Message]:
        """``consume`` would wait for all of its records or the whole time: so take what is there, then wait for one."""
        messages = self._consumer.consume(limit, 0)
        first = None if messages else self._consumer.poll(wait_seconds)
        return messages if first is None else [first]

    def _judge(self, message: Message, error: KafkaError | None) -> None:
        """Note a partition's end; raise unless ``error`` passes by itself."""
        if error is None:
            return
        place, code = (message.topic() or "", message.partition() or 0), error.code()
        if code == KafkaError._PARTITION_EOF:  # noqa: SLF001 - librdkafka's public code
            if (message.offset() or 0) >= self.unread.get(place, 0):
                self.unread.pop(place, None)
            return
        passes = code in UNREACHABLE or error.retriable()
        if not passes or code == KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's public code
            raise KafkaException(error)

    def close(self) -> None:
        """Let go of the reader."""
        with translated("stop reading changelogs", self._brokers):
            self._consumer.close()
            self._ends.close()
