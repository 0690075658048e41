"""Around calls of an open transaction: whatever is raised there, the transaction is over."""

from __future__ import annotations

from typing import Protocol

from confluent_kafka import KafkaError, KafkaException

from streamserve.errors import TransactionAborted
from streamserve.kafka.deliveries import Deliveries, Maker
from streamserve.kafka.errors import kafka_error


class Abortable(Protocol):
    """What has to end when a call fails."""

    deliveries: Deliveries

    def mark_aborted(self) -> None:
        """Note that nothing of the open transaction will become visible."""

    def broken_by(self, error: KafkaError) -> KafkaError:
        """Return what broke the transaction before ``error``."""
        ...


class Aborting:
    """Turns a Kafka failure inside the block into the error that ends the incarnation.

    Entered for each message that is produced by itself: a class, since a generator would take twice as long.
    """

    __slots__ = ("_doing", "_maker", "_topic", "_transaction")

    def __init__(self, transaction: Abortable, doing: str, maker: Maker | None = None, topic: str = "") -> None:
        self._transaction = transaction
        self._doing = doing
        self._maker = maker
        self._topic = topic

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Abort, and raise what the failure means.

        Raises:
            TransactionAborted: the next incarnation may fare better.
            ConfigurationError: it would not.
        """
        if error is None:
            return
        self._transaction.mark_aborted()
        if isinstance(error, BufferError):
            raise TransactionAborted(f"{self._doing}: the client's queue stayed full") from error
        if isinstance(error, KafkaException):
            cause, maker = kafka_error(error), self._maker
            if cause.code() == KafkaError._STATE:  # noqa: SLF001 - librdkafka's public code
                cause, maker = self._transaction.broken_by(cause), None
            raise self._transaction.deliveries.judge(cause, self._doing, maker, self._topic) from error
