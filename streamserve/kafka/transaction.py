"""The one transaction: the only place where anything is committed.

Everything that a batch produces goes into the open transaction. Closing it, in this order:

1. produce the state records and changelogs that were frozen with the positions;
2. send the frozen positions with the group metadata read when they were polled;
3. flush, while the positions are on their way, and check every delivery;
4. commit.

A transaction that ends in any other way than *committed* ends the engine's incarnation: the restart re-initialises the
transactional ids, which settles what is open, and reads the stable committed offsets, which tell how it ended.

Producers are used in turn: the next transaction of one id would wait for the markers of its last.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import repeat
from typing import Any

from confluent_kafka import KafkaError, KafkaException

from streamserve.errors import EngineRestart, OutcomeUnknown, TransactionAborted
from streamserve.kafka.aborting import Aborting
from streamserve.kafka.calls import Calls
from streamserve.kafka.commit import ChangelogBatch, Frozen, GroupCommit
from streamserve.kafka.deadline import Deadline
from streamserve.kafka.deliveries import Deliveries, Maker
from streamserve.kafka.errors import kafka_error
from streamserve.kafka.phases import Phase, Phases
from streamserve.kafka.producers import FLUSH_SECONDS, Producers
from streamserve.kafka.quarantine import Quarantine
from streamserve.records import Emission, Headers, Origin
from streamserve.settings import Settings

__all__ = ["SLOW_COMMIT_SECONDS", "ChangelogBatch", "Frozen", "GroupCommit", "Transaction"]

SLOW_COMMIT_SECONDS = 5.0
"""A commit that took longer may have been retried inside librdkafka: its outcome counts as unknown (KAFKA-17754)."""

_CLOSE_SECONDS = 10.0
_ABORT_SECONDS = 5.0
_GIVE_UP_SECONDS = 0.1
"""How long a transaction that is over already may take to be aborted: that it begins to be is enough."""
_STALL_SECONDS = 12.0
_REGISTERS = b"(registers)"
"""The key of a message that readers of state pass over: no part of an app has such a name."""
_ANSWER_SECONDS = 1.0
"""How long positions are waited for that will not be committed. Where a transaction breaks while they are on their way,
librdkafka may drop the broker's answer, and tell the caller nothing before the call's own time is up."""


class Transaction:
    """Producers used in turn behind one state machine.

    Not thread-safe: everything happens on the engine's thread.

    Raises (from every method):
        TransactionAborted, OutcomeUnknown: the incarnation is over.
        ConfigurationError: it is over, and another would end in the same way.
        BrokerUnavailable: from the constructor.
    """

    def __init__(self, app: str, settings: Settings, calls: Calls, quarantine: Quarantine | None = None) -> None:
        self._calls = calls
        self._quarantine = quarantine or Quarantine()
        self._instance = settings.instance
        self._in_time = Deadline(_STALL_SECONDS)
        self._phases = Phases()
        self._opened_at = 0.0
        self._is_given_up = False
        self.deliveries = Deliveries(self._quarantine, settings.bootstrap_servers)
        self._producers = Producers(app, settings, calls, alone=self._quarantine.sends_alone)

    @property
    def phase(self) -> Phase:
        """Return where the transaction stands."""
        return self._phases.now

    @property
    def is_open(self) -> bool:
        """Return whether something waits to be committed."""
        return self.phase is Phase.OPEN

    @property
    def open_seconds(self) -> float:
        """Return how long the transaction has been open."""
        return time.monotonic() - self._opened_at if self.is_open else 0.0

    def open(self) -> None:
        """Open the transaction unless it is open."""
        if self.is_open:
            return
        self._phases.enter(Phase.OPEN)
        self._opened_at = time.monotonic()
        with Aborting(self, "begin the transaction"):
            self._producers.serve()
            self._producers.troubled = False  # what broke since this producer's last turn is not this one's trouble
            self._calls("producer.begin_transaction", self._producers.current.begin_transaction)

    def register(self, topic: str, partition: int) -> None:
        """Have a partition of a compacted topic registered with the open transaction early, not when it is closed.

        librdkafka registers what messages go to a millisecond after the first, and asks once more for what comes later:
        a partition that is first written to at the end adds a part of that millisecond and a round trip to the commit
        (measured: 0.2 to 0.5 of 4 ms). The message that does it says nothing, under a key of its own.
        """
        with Aborting(self, f"produce to {topic!r}", f"the beginning of a transaction in partition {partition}", topic):
            self._calls("producer.produce", self._producers.send, topic, b"", _REGISTERS, partition=partition)

    def produce_columns(
        self,
        topic: str,
        values: Iterable[bytes | None],
        keys: Iterable[bytes | None],
        origins: Callable[[], Sequence[Origin]],
        timestamps_ms: Sequence[int] = (),
        headers: Sequence[Headers] = (),
    ) -> None:
        """Produce one message per value; ``origins`` names the input of each, and is asked for only when needed.

        ``timestamps_ms`` and ``headers`` are those of each message, or empty.
        """
        if self._quarantine.careful:
            stamps = zip(timestamps_ms or repeat(0), headers or repeat(()), strict=False)
            for value, key, origin, (time_ms, own) in zip(values, keys, origins(), stamps, strict=False):
                self.produce_one(Emission(topic, value, key, tuple(own), timestamp_ms=time_ms), origin)
            return
        with Aborting(self, f"produce to {topic!r}"):
            if timestamps_ms:
                send = self._producers.send_stamped
                self._calls("producer.produce", send, topic, values, keys, timestamps_ms, headers)
            else:
                self._calls("producer.produce", self._producers.send_columns, topic, values, keys)

    def produce_one(self, emission: Emission, maker: Maker) -> None:
        """Produce one message with everything it may carry; ``maker`` is the input that led to it, or words for it."""
        topic = emission.topic
        optional: dict[str, Any] = {}
        if emission.partition is not None:
            optional["partition"] = emission.partition
        if emission.timestamp_ms:
            optional["timestamp"] = emission.timestamp_ms
        if self._quarantine.careful or isinstance(maker, str):
            optional["on_delivery"] = self.deliveries.watch(maker, topic)
        if emission.headers:
            optional["headers"] = list(emission.headers)
        with Aborting(self, f"produce to {topic!r}", maker, topic):
            self._calls("producer.produce", self._producers.send, topic, emission.value, emission.key, **optional)

    def commit(self, frozen: Frozen) -> list[int | None]:
        """Close the transaction as the numbered steps say; return where each group's state record stands now."""
        frozen.check()
        self._phases.enter(Phase.CLOSING)
        started = time.monotonic()
        with Aborting(self, "close the transaction"):
            delivered = [self._produce_state(group) for group in frozen.groups]  # 1
            self._produce_changes([batch for group in frozen.groups for batch in group.changes])
            self._calls("producer.send_offsets", self._send_offsets, frozen)  # 2, 3
            state_offsets = [offsets[0] for offsets in delivered]
        self._commit_producer()  # 4
        self._check_outcome(time.monotonic() - started)
        self._phases.enter(Phase.COMMITTED)
        self._producers.take_turns()
        self._phases.enter(Phase.IDLE)
        return state_offsets

    def _produce_state(self, group: GroupCommit) -> list[int | None]:
        """Produce the group's state record; return what holds its offset after the flush."""
        state = group.state
        if state is None:
            return [group.state_offset]
        offsets: list[int | None] = []
        maker = f"the state of {(state.key or b'').decode(errors='replace')!r}, partition {state.partition}"
        with Aborting(self, f"produce to {state.topic!r}", maker, state.topic):
            self._calls(
                "producer.produce",
                self._producers.send,
                state.topic,
                state.value,
                state.key,
                partition=state.partition if state.partition is not None else -1,
                on_delivery=self.deliveries.watch(maker, state.topic, offsets),
            )
        return offsets

    def _produce_changes(self, batches: Sequence[ChangelogBatch]) -> None:
        """Produce the tables' changes, each to its partition."""
        for batch in batches:
            topic, partition = batch.topic, batch.partition
            if self._quarantine.careful:
                maker = f"an entry of the table behind partition {partition}"
                for key, value in zip(batch.keys, batch.values, strict=True):
                    self.produce_one(Emission(topic, value, key, partition=partition), maker)
            else:
                self._calls(
                    "producer.produce", self._producers.send_columns, topic, batch.values, batch.keys, partition
                )

    def _send_offsets(self, frozen: Frozen) -> None:
        """Send the positions and flush side by side: neither waits for what the broker answers to the other."""
        answer = self._in_time.start(
            self._producers.current.send_offsets_to_transaction,
            frozen.offsets(self._instance),
            frozen.membership,
            _CLOSE_SECONDS,
        )
        try:
            self._flush()
        except BaseException:
            with suppress(KafkaException):  # it follows from what the flush met
                answer(_ANSWER_SECONDS)
            raise
        answer()

    def _flush(self) -> None:
        left = self._calls("producer.flush", self._producers.flush, lambda: self.deliveries.refused is not None)
        self.deliveries.check("close the transaction")
        if left:
            raise TransactionAborted(f"{left} message(s) were not delivered within {FLUSH_SECONDS:g} s")

    def _commit_producer(self) -> None:
        producer = self._producers.current
        try:
            self._calls("producer.commit_transaction", producer.commit_transaction, _CLOSE_SECONDS)
            producer.poll(0)
        except KafkaException as exception:
            raise self._ended_badly(kafka_error(exception)) from exception

    def _ended_badly(self, error: KafkaError) -> EngineRestart:
        if not error.txn_requires_abort():
            return self._unknown(f"commit: {error.str()} ({error.name()})")
        self.mark_aborted()
        return self.deliveries.judge(error, "commit")

    def _check_outcome(self, seconds: float) -> None:
        refused = self.deliveries.refused
        if refused is not None:
            raise self._unknown(f"a delivery failed while committing: {refused.str()}")
        if self._producers.troubled:
            raise self._unknown("a connection broke while the transaction was closing")
        if seconds > SLOW_COMMIT_SECONDS:
            raise self._unknown(f"closing took {seconds:.1f} s and may have been retried")

    def _unknown(self, why: str) -> OutcomeUnknown:
        self._phases.enter(Phase.UNKNOWN)
        return OutcomeUnknown(f"{why}; the restart settles it")

    def broken_by(self, error: KafkaError) -> KafkaError:
        """Return what broke the transaction before ``error``."""
        return self._producers.broken_by(error)

    def mark_aborted(self) -> None:
        """Note that nothing of the open transaction will become visible."""
        if self.phase in (Phase.OPEN, Phase.CLOSING):
            self._phases.enter(Phase.ABORTED)

    def abort(self) -> None:
        """Abort the open transaction now rather than at the next start; the incarnation is over either way."""
        if not self.is_open:
            return
        self.mark_aborted()
        self._give_up(_ABORT_SECONDS)

    def _give_up(self, seconds: float) -> None:
        self._is_given_up = True
        abort = self._producers.current.abort_transaction
        with suppress(KafkaException):  # the next init_transactions of this id, or the broker's timeout, aborts it
            self._calls("producer.abort_transaction", self._in_time, abort, seconds)

    def close(self) -> None:
        """Let go of all producers; what is unsent is dropped, never committed.

        A transaction's partitions are registered a millisecond after its first message. A client that is destroyed just
        then fails the request before it has counted it, and ends the process (``rd_kafka_txn_register_partitions`` in
        librdkafka 2.16: ``txn_req_cnt > 0``). In one that is being aborted nothing is registered any more.
        """
        if self.phase in (Phase.OPEN, Phase.CLOSING, Phase.ABORTED) and not self._is_given_up:
            self._give_up(_GIVE_UP_SECONDS)
        self._producers.close()
        self._in_time.close()
