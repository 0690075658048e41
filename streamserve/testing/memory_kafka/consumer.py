"""Consumers on the cluster in memory: the group's member, and readers outside."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from confluent_kafka import OFFSET_INVALID, KafkaError, Message, TopicPartition

from streamserve.testing.memory_kafka.cluster import Cluster
from streamserve.testing.memory_kafka.errors import OUT_OF_RANGE, PARTITION_EOF, destroyed, wrong_state
from streamserve.testing.memory_kafka.groups import Member

Place: TypeAlias = tuple[str, int]
OnRebalance: TypeAlias = Callable[[Any, list[TopicPartition]], None]


class MemoryConsumer:
    """What ``kafka/`` calls of ``confluent_kafka.Consumer``.

    A subscribed one is the group's only member and owns every partition of its topics. Partitions are read in the
    order of their names, each as far as there is something.

    Raises (from every method): ``KafkaException``, and what callbacks raise.
    """

    def __init__(self, cluster: Cluster, config: dict[str, Any]) -> None:
        self._cluster = cluster
        self._process = cluster.process
        self._committed_only = config.get("isolation.level", "read_committed") == "read_committed"
        self._reports_ends = bool(config.get("enable.partition.eof", False))
        self._starts_early = config.get("auto.offset.reset") == "earliest"
        self._group = cluster.group(config["group.id"])
        self._member = Member(config.get("group.instance.id", ""))
        self._topics: Sequence[str] = ()
        self._on_assign: OnRebalance | None = None
        self._on_revoke: OnRebalance | None = None
        self._positions: dict[Place, int] = {}
        self._paused: set[Place] = set()
        self._unstarted: set[Place] = set()
        self._ends_told: dict[Place, int] = {}
        self._joined = False

    # --- membership ---------------------------------------------------------------------------------------------

    def subscribe(
        self,
        topics: Sequence[str],
        on_assign: OnRebalance | None = None,
        on_revoke: OnRebalance | None = None,
        on_lost: OnRebalance | None = None,
    ) -> None:
        """Join the group at the next poll; ``on_lost`` is never called: a sole member loses nothing unasked."""
        del on_lost
        self._topics, self._on_assign, self._on_revoke = topics, on_assign, on_revoke

    def consumer_group_metadata(self) -> bytes:
        """Return the group metadata as of now."""
        return self._group.metadata(self._member)

    def _serve_group(self) -> None:
        """Join, or rebalance, when it is time."""
        if not self._process.alive:
            raise destroyed()
        if not self._topics:
            return
        if not self._joined:
            self._joined = True
            self._group.join(self._member)
            self._give()
        elif self._group.member is not self._member:
            raise wrong_state("another consumer has joined the group in this one's place")
        elif self._cluster.rebalance_is_due():
            self._take()
            self._group.rebalance()
            self._give()

    def _give(self) -> None:
        everything = [
            TopicPartition(topic, number)
            for topic in self._topics
            for number in range(len(self._cluster.topic(topic).logs))
        ]
        if self._on_assign is not None:
            self._on_assign(self, everything)

    def _take(self) -> None:
        owned = [TopicPartition(*place) for place in self._positions]
        if self._on_revoke is not None and owned:
            self._on_revoke(self, owned)
        self.assign([])

    # --- reading ------------------------------------------------------------------------------------------------

    def assign(self, partitions: Sequence[TopicPartition]) -> None:
        """Read just ``partitions``, each from its offset; a negative one is the beginning. What is paused stays so."""
        self._positions = {(item.topic, item.partition): max(0, item.offset) for item in partitions}
        self._unstarted = self._positions.keys() & self._paused
        self._ends_told.clear()

    def seek(self, partition: TopicPartition) -> None:
        """Go on reading at another offset."""
        place = (partition.topic, partition.partition)
        if place not in self._positions:
            raise wrong_state(f"{partition.topic}[{partition.partition}] is not assigned")
        self._positions[place] = partition.offset
        self._ends_told.pop(place, None)

    def pause(self, partitions: Sequence[TopicPartition]) -> None:
        """Give nothing of ``partitions`` for now; those that are assigned by then need not be started."""
        paused = {(item.topic, item.partition) for item in partitions}
        self._paused |= paused
        self._unstarted -= paused

    def resume(self, partitions: Sequence[TopicPartition]) -> None:
        """Go on with ``partitions``."""
        resumed = {(item.topic, item.partition) for item in partitions}
        self._paused -= resumed
        self._unstarted -= resumed

    def consume(self, num_messages: int = 1, timeout: float = -1) -> list[Message]:
        """Return what is there, up to ``num_messages``, and then the partitions' ends."""
        del timeout
        self._serve_group()
        found: list[Message] = []
        for place in sorted(self._positions.keys() - self._paused):
            if len(found) < num_messages:
                found += self._read(place, num_messages - len(found))
        return found

    def poll(self, timeout: float = -1) -> Message | None:
        """Return the next record; a member that may wait and has none lets the cluster come to rest.

        Not while it is still to start with what it was assigned.
        """
        found = self.consume(1)
        if not found and timeout and self._positions and not self._unstarted and self._topics:
            self._cluster.at_rest()
        return found[0] if found else None

    def _read(self, place: Place, limit: int) -> list[Message]:
        log, position = self._cluster.log(*place), self._positions[place]
        end = log.readable_end(committed=self._committed_only)
        if position > log.end:
            return [self._out_of_range(place, position)]
        messages, self._positions[place] = log.read(position, limit, committed=self._committed_only)
        at_end = self._positions[place] >= end
        if self._reports_ends and at_end and len(messages) < limit and self._ends_told.get(place) != end:
            self._ends_told[place] = end
            messages.append(_event(place, end, KafkaError(PARTITION_EOF, "no more for now")))
        return messages

    def _out_of_range(self, place: Place, position: int) -> Message:
        if self._starts_early:
            self._positions[place] = 0
        return _event(place, position, KafkaError(OUT_OF_RANGE, "no such offset"))

    # --- offsets ------------------------------------------------------------------------------------------------

    def committed(self, partitions: Sequence[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """Return the group's committed offsets with their metadata: stable ones for a ``read_committed`` reader."""
        del timeout
        if not self._process.alive:
            raise destroyed()
        return [self._stored(item) for item in partitions]

    def _stored(self, item: TopicPartition) -> TopicPartition:
        stored = self._group.committed(item.topic, item.partition, stable=self._committed_only)
        if stored is None:
            return TopicPartition(item.topic, item.partition, OFFSET_INVALID)
        return TopicPartition(item.topic, item.partition, stored.offset, metadata=stored.metadata)

    def get_watermark_offsets(
        self, partition: TopicPartition, timeout: float = -1, cached: bool = False
    ) -> tuple[int, int]:
        """Return the first offset, which is 0, and where this reader's view ends; ``cached``, where the log ends."""
        del timeout
        log = self._cluster.log(partition.topic, partition.partition)
        return 0, log.readable_end(committed=self._committed_only and not cached)

    def offsets_for_times(self, partitions: Sequence[TopicPartition], timeout: float = -1) -> list[TopicPartition]:
        """Return ``partitions`` as they are: the engine asks real brokers only to wake the client."""
        del timeout
        return list(partitions)

    def position(self, partitions: Sequence[TopicPartition]) -> list[TopicPartition]:
        """Return where each of ``partitions`` is read next."""
        return [
            TopicPartition(item.topic, item.partition, self._positions[item.topic, item.partition])
            for item in partitions
        ]

    def close(self) -> None:
        """Give back what is owned; a static member keeps its place in the group."""
        if self._process.alive and self._joined and self._group.member is self._member:
            self._take()
        self._positions.clear()
        self._topics = ()


def _event(place: Place, offset: int, error: KafkaError) -> Message:
    return Message(topic=place[0], partition=place[1], offset=offset, error=error)
