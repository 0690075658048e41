"""The broker's side: topics, transactional ids, the groups, and the faults that they suffer next."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import count
from typing import Literal, NoReturn, TypeAlias

from confluent_kafka import KafkaError, Message, murmur2

from streamserve.clock import Clock
from streamserve.records import Headers
from streamserve.testing.memory_kafka.errors import fenced, must_abort, unknown_topic
from streamserve.testing.memory_kafka.groups import Group
from streamserve.testing.memory_kafka.log import LogTransaction, Outcome, PartitionLog

FaultKind: TypeAlias = Literal["crash", "abort", "fence", "rebalance"]
"""What may befall a transaction: see ``Cluster.suffer``."""

_MAX_MESSAGE_BYTES = 1_048_588
"""Kafka's default of ``max.message.bytes``."""


class ProcessDied(BaseException):
    """The process of the engine ends here, as ``kill -9`` would end it: nothing is to be cleaned up."""


@dataclass(eq=False, slots=True)
class MemoryTopic:
    """A topic: its partitions, the size of a message that it takes, and its identity."""

    logs: list[PartitionLog]
    max_message_bytes: int = _MAX_MESSAGE_BYTES
    topic_id: str = ""
    unkeyed: int = 0

    def log_for(self, key: bytes | None) -> PartitionLog:
        """Return where a key belongs, as Java's clients have it; records without one go round."""
        if key is not None:
            return self.logs[murmur2(key, len(self.logs))]
        self.unkeyed += 1
        return self.logs[(self.unkeyed - 1) % len(self.logs)]


@dataclass(eq=False, slots=True)
class ProducerSession:
    """One epoch of a transactional id."""

    transaction: LogTransaction | None = None


@dataclass(eq=False, slots=True)
class Process:
    """A process that holds clients; when it dies, none of them does anything any more."""

    alive: bool = True


class Cluster:
    """Everything that outlives a client.

    ``at_rest`` is called when the group's consumer polls and has nothing to give: it may add records and return.
    """

    def __init__(self, clock: Clock) -> None:
        self.topics: dict[str, MemoryTopic] = {}
        self.process = Process()
        self.at_rest: Callable[[], None] = lambda: None
        self._clock = clock
        self._sequence = count()
        self._topic_numbers = count()
        self._sessions: dict[str, ProducerSession] = {}
        self._groups: dict[str, Group] = {}
        self._faults: deque[FaultKind] = deque()

    # --- topics -------------------------------------------------------------------------------------------------

    def create_topic(self, name: str, partitions: int, config: Mapping[str, str] | None = None) -> None:
        """Create a topic, in the place of one of its name; of its configuration only ``max.message.bytes`` counts."""
        limit = int((config or {}).get("max.message.bytes", _MAX_MESSAGE_BYTES))
        logs = [PartitionLog(name, number) for number in range(partitions)]
        self.topics[name] = MemoryTopic(logs, limit, f"{name}-{next(self._topic_numbers)}")

    def topic(self, name: str) -> MemoryTopic:
        """Return a topic.

        Raises:
            KafkaException: there is none of that name.
        """
        if name not in self.topics:
            raise unknown_topic(name)
        return self.topics[name]

    def log(self, topic: str, partition: int) -> PartitionLog:
        """Return the log of one partition.

        Raises:
            KafkaException: there is none.
        """
        logs = self.topic(topic).logs
        if not 0 <= partition < len(logs):
            raise unknown_topic(f"{topic}[{partition}]")
        return logs[partition]

    def append(
        self,
        topic: str,
        value: bytes | None,
        key: bytes | None = None,
        *,
        partition: int | None = None,
        timestamp_ms: int | None = None,
        headers: Headers = (),
        transaction: LogTransaction | None = None,
    ) -> Message:
        """Write one record; without ``partition`` its key says where, without a time it is the clock's."""
        log = self.topic(topic).log_for(key) if partition is None else self.log(topic, partition)
        time_ms = self._clock.now_ms() if timestamp_ms is None else timestamp_ms
        return log.append(key, value, headers, time_ms, next(self._sequence), transaction)

    def committed(self, topic: str) -> list[Message]:
        """Return what a ``read_committed`` reader sees of ``topic``, in the order in which it was written."""
        found = [entry for log in self.topic(topic).logs for entry in log.committed()]
        return [message for _, message in sorted(found, key=lambda entry: entry[0])]

    # --- transactions -------------------------------------------------------------------------------------------

    def init_producer(self, transactional_id: str) -> ProducerSession:
        """Begin a new epoch of the id: what the last one left open is aborted, and its producer fenced."""
        old = self._sessions.get(transactional_id)
        if old is not None and old.transaction is not None:
            self.end(old, old.transaction, Outcome.ABORTED)
        self._sessions[transactional_id] = session = ProducerSession()
        return session

    def check_epoch(self, transactional_id: str, session: ProducerSession) -> None:
        """Raise unless ``session`` is the id's newest.

        Raises:
            KafkaException: it is fenced.
        """
        if self._sessions.get(transactional_id) is not session:
            raise fenced(transactional_id)

    def end(self, session: ProducerSession, transaction: LogTransaction, outcome: Outcome) -> None:
        """End the open transaction of a session; what it commits is committed."""
        session.transaction = None
        transaction.end(outcome)
        for (group, topic, partition), stored in transaction.offsets.items():
            self.group(group).settle(topic, partition, stored if outcome is Outcome.COMMITTED else None)

    def has_open_transaction(self) -> bool:
        """Return whether any producer is in a transaction."""
        return any(session.transaction is not None for session in self._sessions.values())

    # --- groups -------------------------------------------------------------------------------------------------

    def group(self, name: str) -> Group:
        """Return the consumer group ``name``."""
        return self._groups.setdefault(name, Group(name))

    # --- faults -------------------------------------------------------------------------------------------------

    def suffer(self, fault: FaultKind) -> None:
        """Let ``fault`` strike once, at its next opportunity, after those named before.

        ``crash``: the process dies between sending its offsets and committing. ``abort``: the broker refuses the
        commit. ``fence``: another producer takes the transactional id just before the commit. ``rebalance``: the
        group takes all partitions away, and gives them back, while a transaction is open.
        """
        self._faults.append(fault)

    def rebalance_is_due(self) -> bool:
        """Return whether the group rebalances now."""
        if not (self._faults and self._faults[0] == "rebalance" and self.has_open_transaction()):
            return False
        self._faults.popleft()
        return True

    def die(self) -> NoReturn:
        """End the process here: its clients are dead, what follows has others.

        Raises:
            ProcessDied: always.
        """
        self.process.alive = False
        self.process = Process()
        raise ProcessDied

    def before_commit(self, transactional_id: str) -> None:
        """Let the fault that waits for a commit strike.

        Raises:
            KafkaException: the commit is refused, or the producer fenced.
            ProcessDied: the process is dead.
        """
        if not self._faults or self._faults[0] == "rebalance":
            return
        match self._faults.popleft():
            case "crash":
                self.die()
            case "fence":
                self.init_producer(transactional_id)
            case _:
                raise must_abort(KafkaError.TRANSACTION_ABORTABLE, "the broker refuses to commit")
