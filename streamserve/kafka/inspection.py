"""What ``streamserve doctor`` asks of brokers, as plain facts: settings, partitions, rights, and the brokers' clock.

Nothing is changed, save that one transactional id is used, as a worker uses its own: the broker keeps it for
``transactional.id.expiration.ms``.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import KafkaError, KafkaException, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
    OffsetSpec,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
    ResourceType,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
)

from streamserve.clock import Clock
from streamserve.durations import to_milliseconds
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients, common_config, producer_config
from streamserve.kafka.errors import kafka_error, translated
from streamserve.settings import Settings

__all__ = ["BrokerFacts", "Inspection", "PartitionFacts", "Rights", "TopicFacts", "TransactionTrial"]

_SECONDS = 8.0
_TRANSACTION_LOG = "__transaction_state"
_TRIAL_TIMEOUT_MS = 1000
_LOOK_SECONDS = 0.1
_MOVING = frozenset({"NOT_COORDINATOR", "COORDINATOR_LOAD_IN_PROGRESS", "COORDINATOR_NOT_AVAILABLE"})
"""What a broker may answer that has only just heard of the group."""
_QUIET: Mapping[str, Any] = {"log_level": 0}
"""What librdkafka would print is told as a finding."""


@dataclass(frozen=True, slots=True)
class BrokerFacts:
    """One broker: where it says that it listens, and its settings, none where they may not be read."""

    number: int
    host: str
    port: int
    settings: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class PartitionFacts:
    """Who holds a partition: whether one leads, and how many replicas there are and are in sync."""

    number: int
    has_leader: bool
    replicas: int
    in_sync: int


@dataclass(frozen=True, slots=True)
class Rights:
    """What we may do with something: Kafka's operations in upper case, or the error that says that we may not look.

    ``operations`` is ``None`` where the broker does not say.
    """

    operations: frozenset[str] | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class TopicFacts:
    """A topic as it is: no partitions where it does not exist or may not be seen, no settings where they may not."""

    name: str
    partitions: Sequence[PartitionFacts] = ()
    settings: Mapping[str, str] = field(default_factory=dict[str, str])
    rights: Rights = field(default_factory=Rights)


@dataclass(frozen=True, slots=True)
class TransactionTrial:
    """How a transactional id could be used: ``refusal`` is Kafka's error name, ``None`` where it worked.

    ``broker_ahead_ms`` is by how much the broker's clock is ahead of ours at least, negative where it is behind.
    """

    refusal: str | None = None
    broker_ahead_ms: int | None = None


class Inspection:
    """Asks brokers about themselves.

    Raises:
        ConfigurationError: librdkafka refuses one of the Kafka settings.
        BrokerUnavailable (from ``brokers``): no broker answers.
    """

    def __init__(self, settings: Settings, clients: Clients = KAFKA_CLIENTS) -> None:
        self._settings = settings
        self._clients = clients
        self._seconds = min(_SECONDS, to_milliseconds(settings.shutdown_timeout) / 1000)
        with translated("open an admin client", settings.bootstrap_servers):
            self._client: Any = clients.admin({**_QUIET, **common_config(settings)})  # its futures are untyped

    def brokers(self) -> list[BrokerFacts]:
        """Return the brokers of the cluster that are up, by number."""
        with translated("list brokers", self._settings.bootstrap_servers):
            found: Any = self._client.list_topics(timeout=self._seconds).brokers
        return [
            BrokerFacts(number, found[number].host, found[number].port, self._config(ResourceType.BROKER, str(number)))
            for number in sorted(found)
        ]

    def topics(self, names: Sequence[str]) -> dict[str, TopicFacts]:
        """Return what there is of the topics ``names``."""
        if not names:
            return {}
        futures = self._client.describe_topics(
            TopicCollection(list(names)), include_authorized_operations=True, request_timeout=self._seconds
        )
        return {name: self._topic(name, future) for name, future in futures.items()}

    def group(self, name: str) -> Rights:
        """Return what we may do with the consumer group ``name``, which may not exist yet."""
        rights = self._group(name)
        give_up = time.monotonic() + self._seconds
        while rights.refusal in _MOVING and time.monotonic() < give_up:
            time.sleep(_LOOK_SECONDS)
            rights = self._group(name)
        return rights

    def try_transactional_id(self, name: str, clock: Clock) -> TransactionTrial:
        """Use the transactional id ``name`` once, without a transaction, and read the broker's clock from its log.

        What is open under that id is aborted. The log's newest record of the id's partition is then the broker's
        answer to us, and has the broker's time.
        """
        config = {
            **_QUIET,
            **producer_config(self._settings, name),
            "transaction.timeout.ms": _TRIAL_TIMEOUT_MS,
            "message.timeout.ms": _TRIAL_TIMEOUT_MS,
            "socket.timeout.ms": _TRIAL_TIMEOUT_MS,
        }
        try:
            producer = self._clients.producer(config)
            producer.init_transactions(
                self._seconds
            )  # once before, so that what is timed does not wait for a connection
            producer = self._clients.producer(config)
            before = clock.now_ms()
            producer.init_transactions(self._seconds)
            after = clock.now_ms()
        except KafkaException as exception:
            return TransactionTrial(refusal=kafka_error(exception).name())
        told = self._newest_time(name)
        return TransactionTrial(broker_ahead_ms=None if told is None else _outside(told, before, after))

    def _newest_time(self, transactional_id: str) -> int | None:
        """Return the time of the newest record in the id's partition of the transaction log, if we may see it."""
        with suppress(KafkaException, TimeoutError):
            topics: Any = self._client.list_topics(_TRANSACTION_LOG, timeout=self._seconds).topics
            partitions = len(topics[_TRANSACTION_LOG].partitions)
            if partitions:
                place = TopicPartition(_TRANSACTION_LOG, _java_hash(transactional_id) % partitions)
                future = self._client.list_offsets({place: OffsetSpec.max_timestamp()})[place]  # pyright: ignore[reportUnknownMemberType]
                newest = int(future.result(self._seconds).timestamp)
                return newest if newest >= 0 else None
        return None

    def _group(self, name: str) -> Rights:
        return self._rights(self._client.describe_consumer_groups([name], include_authorized_operations=True)[name])

    def _topic(self, name: str, future: Any) -> TopicFacts:
        try:
            found = future.result(self._seconds)
        except (KafkaException, TimeoutError):
            return TopicFacts(name, rights=self._rights(future))
        partitions = [
            PartitionFacts(one.id, one.leader is not None and one.leader.id >= 0, len(one.replicas), len(one.isr))
            for one in found.partitions
        ]
        return TopicFacts(name, partitions, self._config(ResourceType.TOPIC, name), self._rights(future))

    def _config(self, kind: ResourceType, name: str) -> dict[str, str]:
        """Return all settings of a broker or topic that may be read; secrets are left out, as the broker does."""
        with suppress(KafkaException, TimeoutError):
            [future] = self._client.describe_configs([ConfigResource(kind, name)]).values()
            found = future.result(self._seconds)
            return {key: entry.value for key, entry in found.items() if entry.value is not None}
        return {}

    def _rights(self, future: Any) -> Rights:
        try:
            operations = future.result(self._seconds).authorized_operations
        except KafkaException as exception:
            return Rights(refusal=kafka_error(exception).name())
        except TimeoutError:
            return Rights(refusal=KafkaError(KafkaError._TIMED_OUT).name())  # noqa: SLF001 - librdkafka's public code
        return Rights(None if operations is None else frozenset(operation.name for operation in operations))


def _outside(told: int, before: int, after: int) -> int:
    """Return how far ``told`` lies outside of the span: negative before it, positive after it."""
    return told - before if told < before else max(0, told - after)


def _java_hash(text: str) -> int:
    """Return Java's ``String.hashCode`` without its sign, by which Kafka picks the partition of a transactional id.

    >>> _java_hash("hello"), _java_hash("polygenelubricants")
    (99162322, 0)
    """
    value = 0
    for character in text:
        value = (31 * value + ord(character)) & 0xFFFFFFFF
    return min(value, 2**32 - value) & 0x7FFFFFFF  # of the least number Kafka takes 0
