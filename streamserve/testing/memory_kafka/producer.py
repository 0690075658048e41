"""A transactional producer on the cluster in memory."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from confluent_kafka import KafkaError, Message, TopicPartition

from streamserve.records import Headers
from streamserve.testing.memory_kafka.cluster import Cluster, ProducerSession
from streamserve.testing.memory_kafka.errors import destroyed, must_abort, wrong_state
from streamserve.testing.memory_kafka.log import LogTransaction, Outcome, StoredOffset

OnDelivery = Callable[[KafkaError | None, Message], None]

_OVERHEAD_BYTES = 100
"""What a batch of one record adds to its key, value and headers, generously."""


class MemoryProducer:
    """What ``kafka/`` calls of ``confluent_kafka.Producer``.

    Records are in the log as soon as they are produced; their delivery is reported by ``poll``, ``flush`` and
    ``commit_transaction``.

    Raises (from every method): ``KafkaException``.
    """

    def __init__(self, cluster: Cluster, config: dict[str, Any]) -> None:
        self._cluster = cluster
        self._process = cluster.process
        self._id: str = config["transactional.id"]
        self._session: ProducerSession | None = None
        self._reports: deque[Callable[[], None]] = deque()
        self._refused: KafkaError | None = None

    def _current(self) -> ProducerSession:
        """Return the session if it may still act."""
        if not self._process.alive:
            raise destroyed()
        if self._session is None:
            raise wrong_state("init_transactions comes first")
        self._cluster.check_epoch(self._id, self._session)
        return self._session

    def _open(self) -> tuple[ProducerSession, LogTransaction]:
        session = self._current()
        if session.transaction is None:
            raise wrong_state("no transaction is open")
        return session, session.transaction

    def init_transactions(self, timeout: float = -1) -> None:
        """Take the transactional id."""
        del timeout
        if not self._process.alive:
            raise destroyed()
        self._session = self._cluster.init_producer(self._id)

    def begin_transaction(self) -> None:
        """Open a transaction."""
        session = self._current()
        self._raise_refusal()
        if session.transaction is not None:
            raise wrong_state("a transaction is open already")
        session.transaction = LogTransaction()

    def produce(
        self,
        topic: str,
        value: bytes | None = None,
        key: bytes | None = None,
        partition: int = -1,
        *,
        on_delivery: OnDelivery | None = None,
        timestamp: int = 0,
        headers: Headers = (),
    ) -> None:
        """Write a record in the open transaction."""
        _, transaction = self._open()
        if _size(key, value, headers) > self._cluster.topic(topic).max_message_bytes:
            self._refuse(Message(topic=topic, key=key, value=value), on_delivery)
            return
        message = self._cluster.append(
            topic,
            value,
            key,
            partition=partition if partition >= 0 else None,
            timestamp_ms=timestamp or None,
            headers=headers,
            transaction=transaction,
        )
        if on_delivery is not None:
            self._reports.append(lambda: on_delivery(None, message))

    def _refuse(self, message: Message, on_delivery: OnDelivery | None) -> None:
        """Report that the broker does not take ``message``, and let the transaction end badly."""
        self._refused = error = KafkaError(KafkaError.MSG_SIZE_TOO_LARGE, "larger than max.message.bytes")
        if on_delivery is not None:
            self._reports.append(lambda: on_delivery(error, message))

    def _raise_refusal(self) -> None:
        if self._refused is not None:
            raise must_abort(self._refused.code(), self._refused.str())

    def poll(self, timeout: float = -1) -> int:
        """Report deliveries; return how many."""
        del timeout
        served = 0
        while self._reports and self._process.alive:
            self._reports.popleft()()
            served += 1
        return served

    def flush(self, timeout: float = -1) -> int:
        """Report deliveries; return how many messages are not delivered: none."""
        self.poll(timeout)
        return 0

    def send_offsets_to_transaction(
        self, positions: Sequence[TopicPartition], group_metadata: bytes, timeout: float = -1
    ) -> None:
        """Commit ``positions`` with the transaction, if ``group_metadata`` is of the group's newest generation."""
        del timeout
        _, transaction = self._open()
        self._raise_refusal()
        name = group_metadata[11:].partition(b"\0")[0].decode()
        group = self._cluster.group(name)
        group.check(group_metadata)
        for item in positions:
            place = (name, item.topic, item.partition)
            if place not in transaction.offsets:
                group.await_commit(item.topic, item.partition)
            transaction.offsets[place] = StoredOffset(item.offset, item.metadata)

    def commit_transaction(self, timeout: float = -1) -> None:
        """Report deliveries and commit, unless a fault is due."""
        self.poll(timeout)
        self._raise_refusal()
        self._cluster.before_commit(self._id)
        session, transaction = self._open()
        self._cluster.end(session, transaction, Outcome.COMMITTED)

    def abort_transaction(self, timeout: float = -1) -> None:
        """Abort."""
        del timeout
        session, transaction = self._open()
        self._refused = None
        self._cluster.end(session, transaction, Outcome.ABORTED)

    def purge(self) -> None:
        """Do nothing: every message is delivered or refused already, and reported by ``poll``."""

    def __len__(self) -> int:
        return len(self._reports)


def _size(key: bytes | None, value: bytes | None, headers: Headers) -> int:
    texts = sum(len(name) + len(content or b"") for name, content in headers)
    return len(key or b"") + len(value or b"") + texts + _OVERHEAD_BYTES
