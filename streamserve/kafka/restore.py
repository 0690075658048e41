"""Taking partitions over: settle what a dead owner left open, then read the committed offsets and the state.

The order matters: a dead owner's open transaction would keep the committed offsets unstable until its time-out, so
its transactional ids are fenced first; the offsets say from where on the state is read, up to the changelog's end.
Nothing here runs inside a rebalance callback, and other partitions go on between two steps. A step makes one request or
two, which a broker that answers at all answers within milliseconds: while it does not, nobody's commit comes through.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import NamedTuple

from confluent_kafka import Message, TopicPartition

from streamserve.errors import BrokerUnavailable, ConfigurationError
from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import producer_config, restore_config, transactional_ids
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.errors import translated
from streamserve.kafka.marks import Committed, OffsetMark, TopicPartitionKey
from streamserve.kafka.patience import Patience
from streamserve.kafka.whole import READ_SECONDS, WholeReader
from streamserve.settings import Settings

_REQUEST_SECONDS = 10.0
_READ_RECORDS = 100
_FIRST_WAIT_SECONDS = 0.1
_LONGEST_WAIT_SECONDS = 2.0
"""What a step waits for offsets to become stable: a while longer each time, for brokers that are slow to answer."""


class StoredState(NamedTuple):
    """A state record: where it stands in its changelog's partition, and its value."""

    offset: int
    value: bytes


class StateReader:
    """Reads the last state records of partition groups from their changelog.

    Each is looked for from a known offset up to the changelog's end as ``WholeReader`` defines it.
    """

    def __init__(self, app: str, topic: str, settings: Settings, calls: Calls) -> None:
        self._topic = topic
        self._reader = WholeReader(app, settings, calls)
        self._patience = Patience(settings)
        self._wanted: dict[int, dict[bytes, int]] = {}
        self._names: dict[bytes, bytes] = {}
        self._found: dict[tuple[int, bytes], StoredState] = {}

    def request(
        self, wanted: Mapping[int, Mapping[bytes, int]], aliases: Mapping[bytes, Collection[bytes]] | None = None
    ) -> None:
        """Begin to read; ``wanted`` has, by partition, each key and the offset from where on to look for it.

        ``aliases`` has, for a key, others that the same state may have been written under; the last record counts.

        Raises:
            ConfigurationError: the changelog ends before such an offset: it is not the one that was written.
            BrokerUnavailable: no broker answers.
        """
        self._wanted = {partition: dict(keys) for partition, keys in wanted.items()}
        self._names = {alias: key for key, others in (aliases or {}).items() for alias in (key, *others)}
        starts: dict[TopicPartitionKey, int] = {}
        ends: dict[TopicPartitionKey, int] = {}
        for partition, keys in self._wanted.items():
            place = (self._topic, partition)
            starts[place] = min(keys.values())
            _, ends[place] = self._reader.ends(*place)
            if max(keys.values()) >= ends[place]:
                raise self._gone(partition, max(keys.values()))
        self._reader.begin(starts, ends)

    def step(self, wait_seconds: float = READ_SECONDS) -> dict[tuple[int, bytes], StoredState] | None:
        """Read on for a moment; return all states by partition and key once they are complete.

        With nothing at hand it waits up to ``wait_seconds``.

        Raises:
            ConfigurationError: a state that must be there is not.
            BrokerUnavailable: the changelog is held back by a transaction that hangs.
        """
        if not self._reader.unread:
            return self._checked()
        messages = self._reader.read(_READ_RECORDS, wait_seconds)
        for message in messages:
            self._take(message)
        if messages:
            self._patience.renew()
        elif self._reader.unread:
            self._patience.wait_for(f"the end of {_named(self._reader.unread)}")
        return None if self._reader.unread else self._checked()

    def _take(self, message: Message) -> None:
        partition, name, value = message.partition(), message.key() or b"", message.value()
        key = self._names.get(name, name)
        if partition is not None and key in self._wanted.get(partition, {}):
            self._found[partition, key] = StoredState(message.offset() or 0, value or b"")

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
            " gone: was the changelog deleted, is its cleanup.policy not 'compact', or do agents now read topics apart"
            " that they read together before? To go on with empty state, stop all workers and call 'streamserve"
            " offsets reset MODULE:APP --to committed --empty-state'."
        )

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()


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
        self._dead: list[str] | None = None
        self._wait_seconds = _FIRST_WAIT_SECONDS
        self._patience = Patience(settings)
        self.committed: dict[TopicPartitionKey, Committed] = {}

    def step(self) -> bool:
        """Do the next bounded piece of work; return whether all of it is done.

        Raises:
            BrokerUnavailable: the offsets are held back by a transaction that hangs.
        """
        if self._dead is None:
            self._dead = self._ids_of_dead_owners()
        elif self._dead:
            self._fence(self._dead.pop())
        else:
            return self._has_read_offsets()
        return False

    def _has_read_offsets(self) -> bool:
        try:
            self.committed = self._consumer.committed(self._partitions, self._wait_seconds)
        except BrokerUnavailable:
            self._dead = None  # still unstable: someone may have died since we looked
            self._wait_seconds = min(2 * self._wait_seconds, _LONGEST_WAIT_SECONDS)
            self._patience.wait_for(f"the committed offsets of {_named(self._partitions)}")
            return False
        return True

    def _ids_of_dead_owners(self) -> list[str]:
        """Return the transactional ids of last owners that are members no more."""
        with translated("look for the partitions' last owners", self._settings.bootstrap_servers):
            owners = self._calls("group.last_owners", self._last_owners) - {self._settings.instance}
            dead = owners - (self._calls("group.describe", self._consumer.members) if owners else set())
        return [transactional_id for owner in sorted(dead) for transactional_id in transactional_ids(self._app, owner)]

    def _fence(self, transactional_id: str) -> None:
        """End what is open under an id of a dead owner, so that nobody waits for the time-out."""
        with translated("end what a last owner left open", self._settings.bootstrap_servers):
            producer = self._calls.clients.producer(producer_config(self._settings, transactional_id))
            self._calls("fence.init_transactions", producer.init_transactions, _REQUEST_SECONDS)

    def _last_owners(self) -> set[str]:
        """Return who committed last, from offsets that need not be stable."""
        wanted = [TopicPartition(topic, partition) for topic, partition in self._partitions]
        reader = self._calls.clients.consumer(restore_config(self._settings, self._app, isolation="read_uncommitted"))
        try:
            found = reader.committed(wanted, _REQUEST_SECONDS)
        finally:
            reader.close()
        marks = [OffsetMark.decode(item.metadata) for item in found]
        return {mark.instance for mark in marks if mark is not None}


def _named(places: Iterable[TopicPartitionKey]) -> str:
    return ", ".join(f"{topic}[{partition}]" for topic, partition in sorted(places))
