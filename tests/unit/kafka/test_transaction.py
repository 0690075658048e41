"""The state machine, on librdkafka's own mock cluster: no broker is needed for what the client itself does."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from confluent_kafka import Producer
from typing_extensions import override

from streamserve.errors import ConfigurationError, OutcomeUnknown, TransactionAborted
from streamserve.kafka import transaction as module
from streamserve.kafka.calls import Calls, When
from streamserve.kafka.clients import KAFKA_CLIENTS
from streamserve.kafka.commit import ChangelogBatch, Frozen, GroupCommit
from streamserve.kafka.phases import Phase
from streamserve.kafka.quarantine import Quarantine
from streamserve.kafka.transaction import Transaction
from streamserve.records import Coordinates, Emission, Origin
from streamserve.settings import load_settings
from streamserve.testing.faults import FaultSwitch, parse_faults

NO_MEMBER = b"CGMDv2:" + b"\xff" * 4 + b"app\0\0\1"
MEMBER = b"CGMDv2:" + (7).to_bytes(4, "little") + b"app\0member\0\1"
OFFSETS = Frozen([GroupCommit({("out", 0): 5}, 1_000, Emission("state", b"s", b"part", partition=0))], MEMBER)
ORIGIN = Origin("echo", Coordinates("in", 0, 4))


@contextmanager
def opened(
    fault: str = "", quarantine: Quarantine | None = None, **settings: str
) -> Generator[tuple[Transaction, FaultSwitch]]:
    switch = FaultSwitch(parse_faults(fault))
    kafka = {"test.mock.num.brokers": "1", "log_level": "0", **settings}
    loaded = load_settings({"instance": "w0", "kafka": kafka})
    transaction = Transaction("app", loaded, Calls(switch), quarantine)
    try:
        yield transaction, switch
    finally:
        transaction.close()


def produce(transaction: Transaction) -> None:
    transaction.open()
    transaction.produce_columns("out", [b"a", b"b"], [b"k", None], lambda: [ORIGIN, ORIGIN])
    transaction.produce_one(Emission("out", b"c", b"k", (("h", b"v"),), timestamp_ms=1), ORIGIN)


def test_a_transaction_commits_outputs_state_and_offsets_and_is_idle_again() -> None:
    with opened() as (transaction, switch):
        for state_offset in (0, 0, 0, 2):  # producers in turn, each with a mock of its own; offset 1 is a marker
            produce(transaction)
            assert transaction.is_open
            assert transaction.open_seconds > 0
            assert transaction.commit(OFFSETS) == [state_offset]
            assert transaction.phase is Phase.IDLE
        order = [name for (name, when), _ in switch.counts.items() if when == "before"]
    assert order == [
        "producer.init_transactions",
        "producer.begin_transaction",
        "producer.produce",
        "producer.send_offsets",
        "producer.flush",
        "producer.commit_transaction",
    ]


def test_messages_leave_while_the_positions_are_on_their_way() -> None:
    with opened() as (transaction, switch):
        produce_and_commit(transaction)
        closing = [side for side in switch.counts if side[0] in {"producer.send_offsets", "producer.flush"}]
    assert closing == [
        ("producer.send_offsets", "before"),
        ("producer.flush", "before"),
        ("producer.flush", "after"),
        ("producer.send_offsets", "after"),
    ]


class Deaf(Producer):
    """Does not answer who sends positions, as librdkafka where the transaction broke meanwhile."""

    @override
    def send_offsets_to_transaction(self, positions: Any, group_metadata: Any, timeout: Any = None) -> None:
        time.sleep(5.0)


def test_nobody_waits_for_positions_that_will_not_be_committed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_ANSWER_SECONDS", 0.01)
    switch = FaultSwitch(parse_faults("producer.flush:after:1:raise=INVALID_RECORD"))
    settings = load_settings({"instance": "w0", "kafka": {"test.mock.num.brokers": "1", "log_level": "0"}})
    transaction = Transaction("app", settings, Calls(switch, replace(KAFKA_CLIENTS, producer=Deaf)))
    produce(transaction)
    began = time.monotonic()
    with pytest.raises(ConfigurationError, match="INVALID_RECORD"):
        transaction.commit(OFFSETS)
    assert time.monotonic() - began < 4.0
    transaction.close()


def test_an_open_transaction_is_not_opened_again() -> None:
    with opened() as (transaction, switch):
        transaction.open()
        transaction.open()
        assert switch.counts["producer.begin_transaction", "before"] == 1


@pytest.mark.parametrize("call", ["begin_transaction", "produce", "flush", "send_offsets"])
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("error", ["INVALID_PRODUCER_EPOCH", "_TIMED_OUT", "_FENCED"])
def test_whatever_fails_before_the_commit_aborts(call: str, when: When, error: str) -> None:
    with opened(f"producer.{call}:{when}:1:raise={error}") as (transaction, _):
        with pytest.raises(TransactionAborted, match=error):
            produce_and_commit(transaction)
        assert transaction.phase is Phase.ABORTED
        assert not transaction.is_open


def produce_and_commit(transaction: Transaction) -> None:
    produce(transaction)
    transaction.commit(OFFSETS)


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("error", "phase", "kind"),
    [
        ("INVALID_PRODUCER_EPOCH", Phase.ABORTED, TransactionAborted),
        ("_TIMED_OUT", Phase.UNKNOWN, OutcomeUnknown),
        ("_TRANSPORT", Phase.UNKNOWN, OutcomeUnknown),
    ],
)
def test_a_commit_that_fails_is_aborted_only_where_kafka_says_so(
    when: When, error: str, phase: Phase, kind: type[Exception]
) -> None:
    with opened(f"producer.commit_transaction:{when}:1:raise={error}") as (transaction, _):
        with pytest.raises(kind, match=error):
            produce_and_commit(transaction)
        assert transaction.phase is phase


def test_a_slow_commit_counts_as_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SLOW_COMMIT_SECONDS", 0.05)
    with opened("producer.commit_transaction:after:1:pause:0.1") as (transaction, _):
        with pytest.raises(OutcomeUnknown, match=r"closing took 0\.\d s and may have been retried"):
            produce_and_commit(transaction)
        assert transaction.phase is Phase.UNKNOWN


def test_offsets_are_never_empty_and_never_unfenced() -> None:
    with opened() as (transaction, _):
        produce(transaction)
        with pytest.raises(AssertionError, match="a transaction without offsets is not fenced"):
            transaction.commit(Frozen([GroupCommit({})], MEMBER))
        with pytest.raises(AssertionError, match="without a generation"):
            transaction.commit(Frozen(OFFSETS.groups, NO_MEMBER))
        assert transaction.is_open, "nothing was sent"


def test_an_abort_ends_an_open_transaction_and_nothing_else() -> None:
    with opened() as (transaction, switch):
        transaction.abort()
        assert transaction.phase is Phase.IDLE
        transaction.open()
        transaction.abort()
        transaction.abort()
        assert transaction.phase is Phase.ABORTED
        assert switch.counts["producer.abort_transaction", "before"] == 1


def test_an_abort_that_fails_leaves_it_to_the_restart() -> None:
    with opened("producer.abort_transaction:before:1:raise=_TIMED_OUT") as (transaction, _):
        transaction.open()
        transaction.abort()
        assert transaction.phase is Phase.ABORTED


def test_a_message_too_large_to_leave_is_looked_for_then_named_then_final() -> None:
    quarantine = Quarantine()
    with opened(quarantine=quarantine, **{"message.max.bytes": "1000"}) as (transaction, _):
        transaction.open()
        with pytest.raises(TransactionAborted, match="MSG_SIZE_TOO_LARGE"):
            transaction.produce_columns("out", [b"x" * 2000], [None], lambda: [ORIGIN])
    assert (quarantine.careful, quarantine.refused) == (True, {})
    for last in (TransactionAborted, ConfigurationError):
        with opened(quarantine=quarantine, **{"message.max.bytes": "1000"}) as (transaction, _):
            transaction.open()
            with pytest.raises(last):
                transaction.produce_columns("out", [b"x" * 2000], [None], lambda: [ORIGIN])
    assert list(quarantine.refused) == [ORIGIN]


def test_an_oversize_message_that_no_input_led_to_is_final() -> None:
    with opened(quarantine=None, **{"message.max.bytes": "1000"}) as (transaction, _):
        transaction.open()
        with pytest.raises(
            ConfigurationError, match=r"'out' refuses .* made by step 'tick' .* raise max\.message\.bytes"
        ):
            transaction.produce_one(Emission("out", b"x" * 2000), "step 'tick'")


def test_an_oversize_state_record_is_final() -> None:
    large = Frozen([GroupCommit({("in", 0): 5}, None, Emission("state", b"x" * 2000, b"part", partition=0))], MEMBER)
    with opened(quarantine=None, **{"message.max.bytes": "1000"}) as (transaction, _):
        transaction.open()
        with pytest.raises(ConfigurationError, match=r"'state' refuses .* made by the state of 'part', partition 0"):
            transaction.commit(large)
        assert transaction.phase is Phase.ABORTED


@pytest.mark.parametrize(
    ("call", "error"),
    [
        ("begin_transaction", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"),
        ("produce", "UNSUPPORTED_VERSION"),
        ("flush", "INVALID_RECORD"),
        ("send_offsets", "GROUP_AUTHORIZATION_FAILED"),
        ("commit_transaction", "TOPIC_AUTHORIZATION_FAILED"),
    ],
)
def test_what_the_broker_refuses_for_good_is_final(call: str, error: str) -> None:
    with opened(f"producer.{call}:before:1:raise={error}") as (transaction, _):
        with pytest.raises(ConfigurationError, match=f"{error}.*The broker at .* refuses it"):
            produce_and_commit(transaction)
        assert transaction.phase is Phase.ABORTED


@pytest.mark.parametrize("careful", [False, True])
def test_changes_are_produced_to_the_partition_they_name(*, careful: bool) -> None:
    changes = [ChangelogBatch("changes", 2, [b"a", b"b"], [b"1", None]), ChangelogBatch("changes", 0, [b"c"], [b"3"])]
    with opened(quarantine=Quarantine(careful=careful)) as (transaction, switch):
        transaction.open()
        transaction.commit(Frozen([GroupCommit({("changes", 0): 5}, changes=changes)], MEMBER))
        assert switch.counts["producer.produce", "before"] == (3 if careful else 2)
        assert transaction.phase is Phase.IDLE


def test_a_closed_transaction_can_be_closed_again() -> None:
    with opened() as (transaction, _):
        transaction.close()


def test_a_transaction_is_aborted_before_its_client_is_let_go_of() -> None:
    with opened() as (transaction, switch):
        produce(transaction)
        transaction.close()
        assert switch.counts["producer.abort_transaction", "before"] == 1


def test_what_was_aborted_is_not_aborted_again_at_the_end() -> None:
    with opened() as (transaction, switch):
        produce(transaction)
        transaction.abort()
    assert switch.counts["producer.abort_transaction", "before"] == 1


def test_nothing_is_aborted_where_nothing_is_open() -> None:
    with opened() as (_, switch):
        pass
    assert switch.counts["producer.abort_transaction", "before"] == 0
