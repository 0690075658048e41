"""The one transaction: the only place where anything is committed.

    idle ──open──▶ open ──close──▶ closing ─┬─▶ committed ──▶ idle
                     │                      ├─▶ aborted ──▶ (engine restart)
                     └──────abort───────────┴─▶ unknown ──▶ (engine restart)

Everything that a batch produces goes into the open transaction. Closing it, in this order:

1. produce the changelog records that were frozen with the positions;
2. send the frozen positions with the group metadata read when they were polled, while the messages are on their way;
3. flush, and check every delivery;
4. commit.

A transaction that ends in any other way than *committed* ends the engine's incarnation: the restart re-initialises the
transactional ids, which settles what is open, and reads the stable committed offsets, which tell how it ended.

Two producers are used in turn: the next transaction of one id would wait for the markers of its last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import Enum
from typing import Any

from confluent_kafka import KafkaError, KafkaException, Message, Producer, TopicPartition

from streamserve.durations import to_milliseconds
from streamserve.errors import OutcomeUnknown, TransactionAborted
from streamserve.kafka.calls import Calls
from streamserve.kafka.clients import MAX_MESSAGE_BYTES, producer_config, transactional_ids
from streamserve.kafka.deadline import Deadline
from streamserve.kafka.errors import kafka_error, translated
from streamserve.kafka.marks import OffsetMark, TopicPartitionKey
from streamserve.kafka.quarantine import Quarantine
from streamserve.records import Emission, Origin
from streamserve.settings import Settings

SLOW_COMMIT_SECONDS = 5.0
"""A commit that took longer may have been retried inside librdkafka: its outcome counts as unknown (KAFKA-17754)."""

_INIT_SECONDS = 30.0
_FLUSH_SECONDS = 15.0
_CLOSE_SECONDS = 10.0
_ABORT_SECONDS = 5.0
_STALL_SECONDS = 12.0


_GENERATION = slice(7, 11)
_NO_GENERATION = b"\xff\xff\xff\xff"


def is_fenced(membership: object) -> bool:
    """Return whether the broker checks offsets that are sent with this group metadata.

    It is librdkafka's ``CGMDv2:``, then the generation in four bytes. With generation -1 (no member of the group) the
    coordinator skips the check (``ClassicGroup.validateOffsetCommit``).

    >>> is_fenced(b"CGMDv2:" + bytes(4)), is_fenced(b"CGMDv2:" + _NO_GENERATION), is_fenced(None)
    (True, False, False)
    """
    return isinstance(membership, bytes) and membership[_GENERATION] not in (b"", _NO_GENERATION)


class Phase(Enum):
    """Where the transaction stands."""

    IDLE = "idle"
    OPEN = "open"
    CLOSING = "closing"
    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


LEGAL: Mapping[Phase, frozenset[Phase]] = {
    Phase.IDLE: frozenset({Phase.OPEN}),
    Phase.OPEN: frozenset({Phase.CLOSING, Phase.ABORTED}),
    Phase.CLOSING: frozenset({Phase.COMMITTED, Phase.ABORTED, Phase.UNKNOWN}),
    Phase.COMMITTED: frozenset({Phase.IDLE}),
    Phase.ABORTED: frozenset(),
    Phase.UNKNOWN: frozenset(),
}


@dataclass(frozen=True, slots=True)
class GroupCommit:
    """One partition group's share of a commit.

    ``positions`` are next offsets by topic and partition. ``state`` is the group's new state record, if it changed;
    ``state_offset`` is where its last one stands, ``None`` before the first.
    """

    positions: Mapping[TopicPartitionKey, int]
    watermark_ms: int | None = None
    state: Emission | None = None
    state_offset: int | None = None

    @property
    def state_from(self) -> int | None:
        """Return from where on the changelog is read to find the state as of this commit; ``None``: there is none.

        That is where the *last* record stands: where this commit's will is not known while it is on its way.
        """
        return self.state_offset if self.state_offset is not None or self.state is None else 0


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a closing transaction commits, all read at the same moment.

    There must be at least one position: a transaction without offsets is not fenced by the group's generation.
    ``membership`` is the consumer's group metadata, read with the positions.
    """

    groups: Sequence[GroupCommit]
    membership: Any


class Transaction:
    """Two producers used in turn behind one state machine.

    Not thread-safe: everything happens on the engine's thread.

    Raises (from every method):
        TransactionAborted, OutcomeUnknown: the incarnation is over.
        BrokerUnavailable, ConfigurationError: from the constructor.
    """

    def __init__(self, app: str, settings: Settings, calls: Calls, quarantine: Quarantine | None = None) -> None:
        self._calls = calls
        self._quarantine = quarantine or Quarantine()
        self._brokers = settings.bootstrap_servers
        self._instance = settings.instance
        self._in_time = Deadline(_STALL_SECONDS)
        self._init_seconds = min(_INIT_SECONDS, to_milliseconds(settings.shutdown_timeout) / 1000)
        self._phase = Phase.IDLE
        self._opened_at = 0.0
        self._failures: list[KafkaError] = []
        self._troubled = False
        self._turn = 0
        self._producers = [self._start(settings, name) for name in transactional_ids(app, settings.instance)]

    def _start(self, settings: Settings, transactional_id: str) -> Producer:
        config = producer_config(settings, transactional_id, alone=self._quarantine.sends_alone)
        with translated(f"starting transactional id {transactional_id!r}", self._brokers):
            producer = Producer({**config, "error_cb": self._on_error})
            self._calls("producer.init_transactions", producer.init_transactions, self._init_seconds)
        return producer

    def _on_error(self, _: KafkaError) -> None:
        self._troubled = True

    @property
    def _producer(self) -> Producer:
        """Return the one whose turn it is."""
        return self._producers[self._turn % len(self._producers)]

    @property
    def phase(self) -> Phase:
        """Return where the transaction stands."""
        return self._phase

    @property
    def is_open(self) -> bool:
        """Return whether something waits to be committed."""
        return self._phase is Phase.OPEN

    @property
    def open_seconds(self) -> float:
        """Return how long the transaction has been open."""
        return time.monotonic() - self._opened_at if self.is_open else 0.0

    def _enter(self, phase: Phase) -> None:
        if phase not in LEGAL[self._phase]:
            raise AssertionError(f"transaction cannot go from {self._phase.value} to {phase.value}")
        self._phase = phase

    def open(self) -> None:
        """Open the transaction unless it is open."""
        if self._phase is Phase.OPEN:
            return
        self._enter(Phase.OPEN)
        self._opened_at = time.monotonic()
        with self._aborting("begin the transaction"):
            self._producer.poll(0)
            self._troubled = False  # what broke since this producer's last turn is not this transaction's trouble
            self._calls("producer.begin_transaction", self._producer.begin_transaction)

    def produce_columns(
        self,
        topic: str,
        values: Iterable[bytes | None],
        keys: Iterable[bytes | None],
        origins: Callable[[], Sequence[Origin]],
    ) -> None:
        """Produce one message per value; ``origins`` names the input of each, and is asked for only when needed."""
        with self._aborting(f"produce to {topic!r}"):
            self._calls("producer.produce", self._produce_all, topic, values, keys, origins)

    def _produce_all(
        self,
        topic: str,
        values: Iterable[bytes | None],
        keys: Iterable[bytes | None],
        origins: Callable[[], Sequence[Origin]],
    ) -> None:
        produce = self._producer.produce
        if self._quarantine.careful:
            for value, key, origin in zip(values, keys, origins(), strict=True):
                self.produce_one(Emission(topic, value, key), origin)
            return
        for value, key in zip(values, keys, strict=True):
            try:
                produce(topic, value, key)
            except BufferError:
                self._produce(topic, value, key)

    def produce_one(self, emission: Emission, origin: Origin | None = None) -> None:
        """Produce one message with everything it may carry."""
        optional: dict[str, Any] = {}
        if emission.partition is not None:
            optional["partition"] = emission.partition
        if emission.timestamp_ms:
            optional["timestamp"] = emission.timestamp_ms
        if self._quarantine.careful and origin is not None:
            optional["on_delivery"] = self._naming(origin, emission.topic)
        if emission.headers:
            optional["headers"] = list(emission.headers)
        with self._aborting(f"produce to {emission.topic!r}", origin):
            self._calls("producer.produce", self._produce, emission.topic, emission.value, emission.key, **optional)

    def _produce(self, topic: str, value: bytes | None, key: bytes | None, **optional: Any) -> None:
        """Produce one message; with the queue full, once there is room."""
        try:
            self._producer.produce(topic, value, key, **optional)
        except BufferError:
            self._wait_for_room()
            self._producer.produce(topic, value, key, **optional)

    def _naming(self, origin: Origin, topic: str) -> Callable[[KafkaError | None, Message], None]:
        """Return a delivery callback that remembers ``origin`` when the broker refuses its message as too large."""

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is None:
                return
            self._failures.append(error)
            if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._refuse(origin, topic, len(message))

        return on_delivery

    def _refuse(self, origin: Origin, topic: str, size: int) -> None:
        self._quarantine.refuse(
            origin,
            f"the broker refuses the {size} bytes that step {origin.step!r} made of {origin.at} for {topic!r}:"
            f" raise max.message.bytes of {topic!r} or produce less",
        )

    def note_oversize(self, origin: Origin | None) -> None:
        """Remember that a message was refused before it left: whose, or that we must look for it."""
        if origin is None:
            self._quarantine.careful = True
        else:
            self._refuse(origin, "its output topic", MAX_MESSAGE_BYTES)

    def _wait_for_room(self) -> None:
        """Let librdkafka send until its queue has room again."""
        deadline = time.monotonic() + _FLUSH_SECONDS
        while len(self._producer) > 0 and time.monotonic() < deadline:
            before = len(self._producer)
            self._producer.poll(0.05)
            if len(self._producer) < before:
                return

    def _aborting(self, doing: str, origin: Origin | None = None) -> _Aborting:
        return _Aborting(self, doing, origin)

    def commit(self, frozen: Frozen) -> list[int | None]:
        """Close the transaction as the numbered steps say; return where each group's state record stands now."""
        if not any(group.positions for group in frozen.groups):
            raise AssertionError("a transaction without offsets is not fenced: re-send one that is owned")
        if not is_fenced(frozen.membership):
            raise AssertionError("without a generation of the group the broker would not fence these offsets")
        self._enter(Phase.CLOSING)
        started = time.monotonic()
        with self._aborting("close the transaction"):
            delivered = [self._produce_state(group) for group in frozen.groups]  # 1
            self._calls(  # 2
                "producer.send_offsets",
                self._in_time,
                self._producer.send_offsets_to_transaction,
                self._offsets(frozen.groups),
                frozen.membership,
                _CLOSE_SECONDS,
            )
            self._flush()  # 3
            state_offsets = [offset() for offset in delivered]
        self._commit_producer()  # 4
        self._check_outcome(time.monotonic() - started)
        self._enter(Phase.COMMITTED)
        self._turn += 1
        self._enter(Phase.IDLE)
        return state_offsets

    def _produce_state(self, group: GroupCommit) -> Callable[[], int | None]:
        """Produce the group's state record; return what gives its offset after the flush."""
        if group.state is None:
            return lambda: group.state_offset
        delivered: list[int | None] = []

        def on_delivery(error: KafkaError | None, message: Message) -> None:
            if error is None:
                delivered.append(message.offset())
            else:
                self._failures.append(error)

        state = group.state
        self._calls(
            "producer.produce",
            self._produce,
            state.topic,
            state.value,
            state.key,
            partition=state.partition if state.partition is not None else -1,
            on_delivery=on_delivery,
        )
        return lambda: delivered[0]

    def _offsets(self, groups: Sequence[GroupCommit]) -> list[TopicPartition]:
        return [
            TopicPartition(topic, partition, offset, metadata=mark)
            for group in groups
            for mark in [OffsetMark(self._instance, group.watermark_ms, group.state_from).encode()]
            for (topic, partition), offset in group.positions.items()
        ]

    def _commit_producer(self) -> None:
        try:
            self._calls("producer.commit_transaction", self._in_time, self._producer.commit_transaction, _CLOSE_SECONDS)
            self._producer.poll(0)
        except KafkaException as exception:
            raise self._ended_badly(kafka_error(exception)) from exception

    def _flush(self) -> None:
        left = self._calls("producer.flush", self._producer.flush, _FLUSH_SECONDS)
        if self._failures:
            error = self._failures[0]
            if any(failure.code() == KafkaError.MSG_SIZE_TOO_LARGE for failure in self._failures):
                self._quarantine.careful = True
            raise TransactionAborted(f"the broker refused {len(self._failures)} message(s): {error.str()}")
        if left:
            raise TransactionAborted(f"{left} message(s) were not delivered within {_FLUSH_SECONDS:g} s")

    def _check_outcome(self, seconds: float) -> None:
        if self._failures:
            raise self._unknown(f"a delivery failed while committing: {self._failures[0].str()}")
        if self._troubled:
            raise self._unknown("a connection broke while the transaction was closing")
        if seconds > SLOW_COMMIT_SECONDS:
            raise self._unknown(f"closing took {seconds:.1f} s and may have been retried")

    def _ended_badly(self, error: KafkaError) -> TransactionAborted | OutcomeUnknown:
        if not error.txn_requires_abort():
            return self._unknown(f"commit: {error.str()} ({error.name()})")
        self._enter(Phase.ABORTED)
        if error.code() == KafkaError.MSG_SIZE_TOO_LARGE:
            self.note_oversize(None)
        return TransactionAborted(f"commit: {error.str()} ({error.name()})")

    def broken_by(self, error: KafkaError) -> KafkaError:
        """Return what broke the transaction before ``error``: the client tells it to transaction calls only."""
        try:
            self._producer.poll(0)  # delivery reports first: they may name the message
            self._producer.begin_transaction()
        except KafkaException as exception:
            return kafka_error(exception)
        return error

    def _unknown(self, why: str) -> OutcomeUnknown:
        self._enter(Phase.UNKNOWN)
        return OutcomeUnknown(f"{why}; the restart settles it")

    def mark_aborted(self) -> None:
        """Note that nothing of the open transaction will become visible."""
        if self._phase in (Phase.OPEN, Phase.CLOSING):
            self._enter(Phase.ABORTED)

    def abort(self) -> None:
        """Abort the open transaction now rather than at the next start; the incarnation is over either way."""
        if self._phase is not Phase.OPEN:
            return
        self.mark_aborted()
        with suppress(KafkaException):  # the next init_transactions of this id, or the broker's timeout, aborts it
            self._calls("producer.abort_transaction", self._in_time, self._producer.abort_transaction, _ABORT_SECONDS)

    def close(self) -> None:
        """Let go of both producers; what is unsent is dropped, never committed."""
        for producer in self._producers:
            with suppress(KafkaException):  # a fenced producer says so at every call
                producer.purge()
                producer.poll(0)
        self._producers.clear()
        self._in_time.close()


class _Aborting:
    """Turns a Kafka failure inside the block into ``TransactionAborted``; remembers an oversize message's input."""

    __slots__ = ("_doing", "_origin", "_transaction")

    def __init__(self, transaction: Transaction, doing: str, origin: Origin | None) -> None:
        self._transaction = transaction
        self._doing = doing
        self._origin = origin

    def __enter__(self) -> None:
        """Do nothing."""

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        self._transaction.mark_aborted()
        if isinstance(error, BufferError):
            raise TransactionAborted(f"{self._doing}: the queue stayed full for {_FLUSH_SECONDS:g} s") from error
        if isinstance(error, KafkaException):
            cause, origin = kafka_error(error), self._origin
            if cause.code() == KafkaError._STATE:  # noqa: SLF001 - librdkafka's public code
                cause, origin = self._transaction.broken_by(cause), None
            if cause.code() == KafkaError.MSG_SIZE_TOO_LARGE:
                self._transaction.note_oversize(origin)
            raise TransactionAborted(f"{self._doing}: {cause.str()} ({cause.name()})") from error
