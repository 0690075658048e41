"""What is said of brokers, by the facts that they tell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import pytest

from streamserve.kafka.inspection import BrokerFacts, PartitionFacts, TopicFacts, TransactionTrial
from streamserve.ops.doctor import Finding, cluster
from streamserve.settings import Settings

TRANSACTIONS = "__transaction_state"


def broker(number: int = 1, **settings: str) -> BrokerFacts:
    """A broker; double underscores in names stand for dots."""
    return BrokerFacts(number, "127.0.0.1", 9092, {name.replace("__", "."): value for name, value in settings.items()})


def brief(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.name) for finding in findings]


@pytest.mark.parametrize(
    ("found", "level"),
    [({1: "4.3", 2: "4.3"}, "fine"), ({1: "4.3", 2: "4.2"}, "warning"), ({1: None}, "unknown"), ({}, "unknown")],
)
def test_brokers_should_run_one_release_that_is_known(found: Mapping[int, str | None], level: str) -> None:
    assert brief(cluster.releases(found)) == [(level, "release")]


@pytest.mark.parametrize(
    ("release", "controlled", "unreplicated", "told"),
    [
        ("4.2", "true", ["a"], True),
        ("4.0", "true", ["a"], False),
        ("4.4 or newer", "true", ["a"], False),
        (None, "true", ["a"], False),
        ("4.2", "false", ["a"], False),
        ("4.2", "true", [], False),
    ],
)
def test_hanging_transactions_need_a_release_a_shutdown_and_a_lone_replica(
    release: str | None, controlled: str, unreplicated: list[str], told: bool
) -> None:
    brokers = [broker(controlled__shutdown__enable=controlled)]
    expected = [("warning", "hanging-transactions")] if told else []
    assert brief(cluster.markers(brokers, {1: release}, unreplicated)) == expected


def test_limits_of_time_are_held_against_the_app_s_settings() -> None:
    brokers = [broker(transaction__max__timeout__ms="10000", group__min__session__timeout__ms="6000")]
    allowed = Settings(transaction_timeout="10s", session_timeout="6s")
    assert brief([*cluster.transactions(brokers, allowed), *cluster.session(brokers, allowed)]) == []
    refused = Settings(transaction_timeout="11s", session_timeout="5s")
    found = [*cluster.transactions(brokers, refused), *cluster.session(brokers, refused)]
    assert brief(found) == [("fault", "transaction-timeout"), ("fault", "session-timeout")]
    assert "10000" in found[0].what
    assert "11000" in found[0].what


def test_a_session_may_be_too_long_as_well() -> None:
    brokers = [broker(group__max__session__timeout__ms="60000")]
    assert brief(cluster.session(brokers, Settings(session_timeout="2m"))) == [("fault", "session-timeout")]


def test_marks_beside_offsets_need_their_room_and_their_time() -> None:
    assert brief(cluster.metadata([broker(offset__metadata__max__bytes="4096")])) == []
    small = [broker(offset__metadata__max__bytes="4095", offsets__retention__minutes="60")]
    assert brief(cluster.metadata(small)) == [("fault", "offset-metadata"), ("warning", "offset-retention")]


def test_one_broker_with_kafka_s_defaults_cannot_begin_a_transaction() -> None:
    [finding] = cluster.internal_topics([broker(transaction__state__log__replication__factor="3")], {})
    assert (finding.level, finding.where) == ("fault", f"topic {TRANSACTIONS}")
    assert finding.remedy == "start more, or set it to 1"


def test_the_transaction_log_that_exists_counts_more_than_the_setting_for_a_new_one() -> None:
    brokers = [broker(transaction__state__log__replication__factor="3")]
    exists = {TRANSACTIONS: TopicFacts(TRANSACTIONS, [PartitionFacts(0, True, 1, 1)], {"min.insync.replicas": "1"})}
    assert brief(cluster.internal_topics(brokers, exists)) == []
    asks_two = {TRANSACTIONS: TopicFacts(TRANSACTIONS, [PartitionFacts(0, True, 1, 1)], {"min.insync.replicas": "2"})}
    assert brief(cluster.internal_topics(brokers, asks_two)) == [("fault", "internal-topics")]


def test_three_brokers_should_hold_the_transaction_log_three_times() -> None:
    brokers = [broker(number, transaction__state__log__replication__factor="1") for number in (1, 2, 3)]
    assert brief(cluster.internal_topics(brokers, {})) == [("warning", "internal-topics")]


def test_brokers_that_hide_their_settings_are_named() -> None:
    [finding] = cluster.readable([broker(1), broker(2, a="b")])
    assert (finding.level, finding.where) == ("unknown", "broker 1")


@pytest.mark.parametrize(
    ("ahead_ms", "level"),
    [(0, "fine"), (2_000, "fine"), (-2_000, "fine"), (2_001, "warning"), (-60_000, "warning"), (3_600_000, "fault")],
)
def test_clocks_may_differ_by_two_seconds_and_must_not_by_an_hour(ahead_ms: int, level: str) -> None:
    assert brief(cluster.clock(TransactionTrial(broker_ahead_ms=ahead_ms))) == [(level, "clock")]


def test_a_clock_that_could_not_be_read_is_unknown() -> None:
    assert brief(cluster.clock(TransactionTrial(refusal="_TIMED_OUT"))) == [("unknown", "clock")]
