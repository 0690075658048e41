"""The clients of the engine, on a cluster in memory."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import TypeVar, cast

from confluent_kafka import Consumer, KafkaException, Producer, TopicCollection, TopicPartition
from confluent_kafka.admin import (
    AdminClient,
    ConfigResource,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
    ResourceType,  # pyright: ignore[reportPrivateImportUsage] - public in its docs
)
from confluent_kafka.cimpl import NewTopic

from streamserve.kafka.clients import Clients
from streamserve.kafka.marks import METADATA_BYTES
from streamserve.testing.memory_kafka.cluster import Cluster
from streamserve.testing.memory_kafka.consumer import MemoryConsumer
from streamserve.testing.memory_kafka.producer import MemoryProducer

T = TypeVar("T")


def memory_clients(cluster: Cluster) -> Clients:
    """Return what makes the engine's clients on ``cluster``; of their configuration only what it knows counts."""
    return Clients(
        lambda config: cast("Producer", MemoryProducer(cluster, config)),
        lambda config: cast("Consumer", MemoryConsumer(cluster, config)),
        lambda _: cast("AdminClient", MemoryAdmin(cluster)),
    )


@dataclass(frozen=True, slots=True)
class _MemberDescription:
    group_instance_id: str


@dataclass(frozen=True, slots=True)
class _GroupDescription:
    members: Sequence[_MemberDescription]


@dataclass(frozen=True, slots=True)
class _TopicDescription:
    partitions: Sequence[object]
    error: None = None


@dataclass(frozen=True, slots=True)
class _TopicIdentity:
    topic_id: str


@dataclass(frozen=True, slots=True)
class _ConfigEntry:
    value: str


@dataclass(frozen=True, slots=True)
class _Metadata:
    topics: Mapping[str, _TopicDescription]
    brokers: Mapping[int, object]


class MemoryAdmin:
    """What ``kafka/`` calls of ``confluent_kafka.admin.AdminClient``."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster

    def list_topics(self, topic: str | None = None, timeout: float = -1) -> _Metadata:
        """Return all topics with their partitions."""
        del topic, timeout
        return _Metadata({name: _TopicDescription(held.logs) for name, held in self._cluster.topics.items()}, {1: None})

    def create_topics(self, new_topics: Sequence[NewTopic]) -> dict[str, Future[None]]:
        """Create topics that are not there."""
        for new in new_topics:
            self._cluster.create_topic(new.topic, new.num_partitions, new.config)
        return {new.topic: _done(None) for new in new_topics}

    def describe_configs(
        self, resources: Sequence[ConfigResource]
    ) -> dict[ConfigResource, Future[dict[str, _ConfigEntry]]]:
        """Return what the cluster knows of a topic's configuration, and a broker's defaults."""
        return {resource: _done(self._config_of(resource)) for resource in resources}

    def _config_of(self, resource: ConfigResource) -> dict[str, _ConfigEntry]:
        if resource.restype == ResourceType.BROKER:
            return {"offset.metadata.max.bytes": _ConfigEntry(str(METADATA_BYTES))}
        return {"max.message.bytes": _ConfigEntry(str(self._cluster.topic(resource.name).max_message_bytes))}

    def describe_topics(self, topics: TopicCollection) -> dict[str, Future[_TopicIdentity]]:
        """Return the identity of each topic."""
        names: list[str] = topics.topic_names
        return {name: self._identity(name) for name in names}

    def _identity(self, name: str) -> Future[_TopicIdentity]:
        future: Future[_TopicIdentity] = Future()
        try:
            future.set_result(_TopicIdentity(self._cluster.topic(name).topic_id))
        except KafkaException as error:
            future.set_exception(error)
        return future

    def delete_records(self, topic_partition_offsets: Sequence[TopicPartition]) -> dict[TopicPartition, Future[None]]:
        """Keep everything, which a broker may do as well."""
        return {place: _done(None) for place in topic_partition_offsets}

    def describe_consumer_groups(
        self, group_ids: Sequence[str], request_timeout: float = -1
    ) -> dict[str, Future[_GroupDescription]]:
        """Return the members of each group."""
        del request_timeout
        return {name: _done(self._describe(name)) for name in group_ids}

    def _describe(self, name: str) -> _GroupDescription:
        member = self._cluster.group(name).member
        return _GroupDescription([] if member is None else [_MemberDescription(member.instance)])


def _done(result: T) -> Future[T]:
    future: Future[T] = Future()
    future.set_result(result)
    return future
