"""What the broker says of the messages of a transaction, and what follows for the input that led to each."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from confluent_kafka import KafkaError, Message

from streamserve.errors import ConfigurationError, EngineRestart, ProducerFenced, TransactionAborted
from streamserve.kafka.errors import refusal
from streamserve.kafka.quarantine import Quarantine
from streamserve.records import Origin, ResultOrigin

Maker: TypeAlias = Origin | ResultOrigin | str
"""Who made a message: a step of an input record, a window, or in words what no dead letter can stand for."""

OnDelivery: TypeAlias = Callable[[KafkaError | None, Message], None]


class Deliveries:
    """Collects the messages that the broker refused, and passes judgement on what ended the transaction."""

    def __init__(self, quarantine: Quarantine, brokers: str) -> None:
        self._quarantine = quarantine
        self._alone = quarantine.sends_alone  # as the producers were started
        self._brokers = brokers
        self._refused: list[KafkaError] = []

    @property
    def refused(self) -> KafkaError | None:
        """Return why the first of the refused messages was refused."""
        return self._refused[0] if self._refused else None

    def watch(self, maker: Maker, topic: str, offsets: list[int | None] | None = None) -> OnDelivery:
        """Return the delivery callback of a message for ``topic``; it adds the message's offset to ``offsets``.

        Of a message that the broker finds too large it remembers who made it, where messages travel alone: else it may
        be another one of the same batch.
        """

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is None:
                if offsets is not None:
                    offsets.append(message.offset())
                return
            self._refused.append(error)
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE and self._alone:
                self._blame(maker, topic, f"{len(message)} bytes")

        return on_delivery

    def _blame(self, maker: Maker, topic: str, what: str) -> None:
        """Set aside the input or the result that led to an oversize message; else nothing but a larger limit helps.

        Raises:
            ConfigurationError: neither led to it, or it was a dead letter already.
        """
        if isinstance(maker, ResultOrigin):
            self._quarantine.refuse_result(maker)
            return
        remedy = f"raise max.message.bytes of {topic!r} or produce less"
        if not isinstance(maker, Origin):
            raise ConfigurationError(f"{topic!r} refuses the {what} made by {maker} as too large: {remedy}")
        made = f"the {what} that step {maker.step!r} made of {maker.at} for {topic!r}"
        self._quarantine.refuse(maker, f"the broker refuses {made}: {remedy}")

    def judge(self, error: KafkaError, doing: str, maker: Maker | None = None, topic: str = "") -> EngineRestart:
        """Return what ends the incarnation after ``error``; ``maker`` made the message for ``topic`` that met it.

        Raises:
            ConfigurationError: another attempt would end in the same way.
        """
        permanent = refusal(error, doing=doing, brokers=self._brokers)
        if permanent is not None:
            raise permanent
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            if maker is None:
                self._quarantine.careful = True
            else:
                self._blame(maker, topic, "message")
        kind = ProducerFenced if error.code() == KafkaError._FENCED else TransactionAborted  # noqa: SLF001 - librdkafka's public code
        return kind(f"{doing}: {error.str()} ({error.name()})")

    def check(self, doing: str) -> None:
        """Make sure that nothing was refused.

        Raises:
            TransactionAborted, ConfigurationError: something was.
        """
        for error in self._refused:
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._quarantine.careful = True
        if self._refused:
            raise self.judge(self._refused[0], f"{doing}: the broker refused {len(self._refused)} message(s)")
