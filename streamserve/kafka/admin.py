"""Topics and lag of an app, asked of the broker."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka import Consumer, KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import ConfigResource, ResourceType  # pyright: ignore[reportPrivateImportUsage] - public in its docs
from confluent_kafka.cimpl import NewTopic

from streamserve.durations import to_milliseconds
from streamserve.errors import BrokerUnavailable, TopicError
from streamserve.kafka.clients import KAFKA_CLIENTS, MAX_MESSAGE_BYTES, Clients, common_config, restore_config
from streamserve.kafka.errors import kafka_error, translated
from streamserve.kafka.marks import METADATA_BYTES
from streamserve.kafka.remaining import remaining
from streamserve.settings import Settings

_REQUEST_SECONDS = 10.0
_LOOK_SECONDS = 0.05
_METADATA_LIMIT = "offset.metadata.max.bytes"
_MESSAGE_LIMIT = "max.message.bytes"


@dataclass(frozen=True, slots=True)
class TopicSpec:
    """A topic as an app needs it; ``partitions`` of ``None`` takes what is there."""

    name: str
    partitions: int | None
    config: Mapping[str, str]
    purpose: str


@dataclass(frozen=True, slots=True)
class PartitionLag:
    """How far a group is behind in one partition: records between its committed offset and the last stable one.

    ``lag`` is 0 where no record waits. Otherwise it counts markers between records too: it is that much at most.
    """

    topic: str
    partition: int
    committed: int | None
    end: int
    lag: int


def dead_letter_config() -> dict[str, str]:
    """Return the configuration of a dead-letter topic: it takes what other topics refuse, and keeps it."""
    return {"max.message.bytes": str(MAX_MESSAGE_BYTES), "retention.ms": "-1"}


def changelog_config() -> dict[str, str]:
    """Return the configuration of a state changelog: compacted often, since a record is written each commit."""
    return {
        "cleanup.policy": "compact",
        "segment.bytes": str(64 << 20),
        "min.cleanable.dirty.ratio": "0.1",
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
    }


def compacted_config() -> dict[str, str]:
    """Return the configuration of a topic of which the last value of each key counts."""
    return {"cleanup.policy": "compact"}


def regrouped_config() -> dict[str, str]:
    """Return the configuration of an internal topic of regrouped records, whose timestamps may be of any age."""
    return {
        "retention.ms": "-1",
        "segment.bytes": str(64 << 20),
        "max.message.bytes": str(MAX_MESSAGE_BYTES),
        "message.timestamp.after.max.ms": str(2**63 - 1),
    }


def _quiet(failures: deque[str]) -> dict[str, Any]:
    """Return what keeps the client from printing each failed connection, 20 a second: they go to ``failures``."""

    def note(error: KafkaError) -> None:
        if error.code() != KafkaError._ALL_BROKERS_DOWN:  # noqa: SLF001 - librdkafka's public code; it names no cause
            failures.append(error.str())

    return {"log_level": 0, "error_cb": note}


class Admin:
    """Asks and changes topics.

    Raises:
        ConfigurationError: librdkafka refuses one of the Kafka settings.
        BrokerUnavailable (from every method): no broker answers.
    """

    def __init__(self, settings: Settings, clients: Clients = KAFKA_CLIENTS) -> None:
        self._settings = settings
        self._clients = clients
        self._brokers = settings.bootstrap_servers
        self._seconds = min(_REQUEST_SECONDS, to_milliseconds(settings.shutdown_timeout) / 1000)
        self._failures: deque[str] = deque(maxlen=1)
        with translated("open an admin client", self._brokers):
            self._client = clients.admin({**_quiet(self._failures), **common_config(settings)})

    def partitions(self) -> dict[str, int]:
        """Return the number of partitions of every topic on the broker."""
        metadata = self._listed("list topics")
        return {name: len(topic.partitions) for name, topic in metadata.topics.items() if topic.error is None}

    def _listed(self, doing: str) -> Any:
        """Return the cluster's metadata; where nobody answers, the error tells how the last connection failed."""
        try:
            with translated(doing, self._brokers):
                return self._client.list_topics(timeout=self._seconds)
        except BrokerUnavailable as error:
            self._client.poll(0)  # the callback is called in here
            if not self._failures:
                raise
            raise BrokerUnavailable(f"{error} The last try: {self._failures[0]}.") from error.__cause__

    def problems(self, specs: Sequence[TopicSpec]) -> list[str]:
        """Return what is wrong with the topics of ``specs``, one sentence each."""
        found = self.partitions()
        problems: list[str] = []
        for spec in specs:
            if spec.name not in found:
                problems.append(f"topic {spec.name!r} ({spec.purpose}) does not exist")
            elif spec.partitions is not None and found[spec.name] != spec.partitions:
                problems.append(
                    f"topic {spec.name!r} ({spec.purpose}) has {found[spec.name]} partitions, not {spec.partitions}"
                )
        return problems

    def check(self, specs: Sequence[TopicSpec]) -> None:
        """Raise unless all topics are as they should be.

        Raises:
            TopicError: with every problem, and what to do.
        """
        problems = self.problems(specs)
        if problems:
            raise TopicError(
                f"{'; '.join(problems)} on {self._brokers}. 'streamserve topics create MODULE:APP' creates what is"
                " missing; the number of partitions of an existing topic has to be mended by hand, or the topic be read"
                " regrouped (source.group_by), through one with the right number."
            )

    def create(self, specs: Sequence[TopicSpec], *, partitions: int, replication: int = -1) -> list[str]:
        """Create the topics that are missing, ``partitions`` each where their spec leaves it open; return their names.

        They can be used when this returns. ``replication`` of -1 takes the broker's default.

        Raises:
            TopicError: the broker refuses one.
        """
        found = self.partitions()
        missing = [spec for spec in specs if spec.name not in found]
        if not missing:
            return []
        new = [
            NewTopic(spec.name, spec.partitions or partitions, replication, config=dict(spec.config))
            for spec in missing
        ]
        client: Any = self._client  # its futures are untyped
        self._settle("create", client.create_topics(new), KafkaError.TOPIC_ALREADY_EXISTS)
        self._wait_for({spec.name for spec in missing})
        return [spec.name for spec in missing]

    def _settle(self, doing: str, futures: Mapping[str, Any], done_before: int) -> None:
        """Wait for the answer to each topic's request; ``done_before`` is the error of one that had nothing to do."""
        for name, future in futures.items():
            try:
                future.result(_REQUEST_SECONDS)
            except KafkaException as exception:
                error = kafka_error(exception)
                if error.code() != done_before:
                    raise TopicError(f"{doing} topic {name!r}: {error.str()} ({error.name()})") from exception
            except TimeoutError as error:
                raise BrokerUnavailable(f"{doing} topic {name!r}: no answer from {self._brokers}") from error

    def delete(self, names: Sequence[str]) -> None:
        """Delete topics with all that they hold, and return when the broker tells of them no more.

        Raises:
            TopicError: the broker refuses it.
        """
        if not names:
            return
        client: Any = self._client  # its futures are untyped
        self._settle("delete", client.delete_topics(list(names)), KafkaError.UNKNOWN_TOPIC_OR_PART)
        give_up = time.monotonic() + self._seconds
        while not set(names).isdisjoint(self.partitions()):
            if time.monotonic() > give_up:
                raise BrokerUnavailable(f"{self._brokers} still tells of topics that it just deleted: try again")
            time.sleep(_LOOK_SECONDS)

    def _wait_for(self, names: set[str]) -> None:
        """Return when the broker tells of the topics ``names``, a moment after its controller has made them."""
        give_up = time.monotonic() + self._seconds
        while not names <= self.partitions().keys():
            if time.monotonic() > give_up:
                raise BrokerUnavailable(f"{self._brokers} does not tell of topics that it just created: try again")
            time.sleep(_LOOK_SECONDS)

    def metadata_bytes(self) -> int:
        """Return how much metadata the brokers take beside a committed offset; Kafka's default where they do not say.

        They tell whoever may ``DescribeConfigs`` of the cluster.
        """
        brokers = self._listed("list brokers").brokers
        found = self._described(
            [ConfigResource(ResourceType.BROKER, str(number)) for number in brokers], _METADATA_LIMIT
        )
        return min(found.values(), default=METADATA_BYTES)

    def message_bytes(self, topics: Sequence[str]) -> dict[str, int]:
        """Return the largest message that each of ``topics`` takes, as far as the broker says."""
        return self._described([ConfigResource(ResourceType.TOPIC, topic) for topic in topics], _MESSAGE_LIMIT)

    def _described(self, resources: Sequence[ConfigResource], limit: str) -> dict[str, int]:
        """Return what each resource, by name, has for ``limit``, as far as the broker tells."""
        client: Any = self._client  # its futures are untyped
        asked = [client.describe_configs([resource]) for resource in resources]  # a request may name one broker
        found: dict[str, int] = {}
        for resource, future in (item for futures in asked for item in futures.items()):
            with suppress(KafkaException, TimeoutError):
                found[resource.name] = int(future.result(self._seconds)[limit].value)
        return found

    def topic_ids(self, topics: Sequence[str]) -> dict[str, str]:
        """Return the identity of each of ``topics`` (KIP-516) that the broker tells; one made anew has another."""
        if not topics:
            return {}
        client: Any = self._client  # its futures are untyped
        found: dict[str, str] = {}
        for topic, future in client.describe_topics(TopicCollection(list(topics))).items():
            with suppress(KafkaException, TimeoutError):
                found[topic] = str(future.result(self._seconds).topic_id)
        return found

    def lag(self, group: str, topics: Sequence[str]) -> list[PartitionLag]:
        """Return how far ``group`` is behind in every partition of ``topics``, up to their last stable offsets."""
        found = self.partitions()
        wanted = [TopicPartition(topic, number) for topic in topics for number in range(found.get(topic, 0))]
        reader = self._clients.consumer(restore_config(self._settings, group, isolation="read_committed"))
        try:
            with translated("read committed offsets", self._brokers):
                committed: Any = reader.committed(wanted, _REQUEST_SECONDS) if wanted else []
                lags = [self._lag_of(reader, item) for item in committed]
        finally:
            reader.close()
        spans = {(one.topic, one.partition): (one.end - one.lag, one.end) for one in lags}
        left = remaining(group, self._settings, spans, self._clients)
        return [replace(one, lag=left[one.topic, one.partition]) for one in lags]

    @staticmethod
    def _lag_of(reader: Consumer, item: TopicPartition) -> PartitionLag:
        low, high = reader.get_watermark_offsets(item, _REQUEST_SECONDS)
        committed = item.offset if item.offset >= 0 else None
        start = low if committed is None else max(low, committed)
        return PartitionLag(item.topic, item.partition, committed, high, max(0, high - start))
