"""What is said of topics and of rights on them, by what an app does with them and what brokers tell."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from streamserve.kafka.clients import MAX_MESSAGE_BYTES
from streamserve.kafka.inspection import PartitionFacts, Rights, TopicFacts, TransactionTrial
from streamserve.ops.doctor import Finding
from streamserve.ops.doctor.needs import Role, TopicNeed
from streamserve.ops.doctor.rights import group_rights, topic_rights, transactional_rights
from streamserve.ops.doctor.topics import check_topic, dead_letter_room, missing

LONE = PartitionFacts(0, True, 1, 1)


def need(role: Role, partitions: int | None = None) -> TopicNeed:
    operations = {"input": ["READ"], "changelog": ["READ", "WRITE"]}.get(role, ["WRITE"])
    return TopicNeed("t", role, partitions, frozenset(operations), "for a test")


def facts(*partitions: PartitionFacts, **settings: str) -> TopicFacts:
    """A topic; double underscores in names of settings stand for dots."""
    named = {name.replace("__", "."): value for name, value in settings.items()}
    return TopicFacts("t", partitions or (LONE,), {"cleanup.policy": "delete", **named})


def wrong(findings: Iterable[Finding]) -> list[tuple[str, str]]:
    return [(finding.level, finding.name) for finding in findings if finding.level != "fine"]


@pytest.mark.parametrize(
    ("role", "settings", "told"),
    [
        ("input", {"retention__ms": "3600000"}, [("warning", "input-retention")]),
        ("input", {"retention__ms": "604800000"}, []),
        ("input", {"retention__ms": "-1"}, []),
        ("input", {"cleanup__policy": "compact", "retention__ms": "1"}, [("warning", "input-compacted")]),
        ("reference", {"cleanup__policy": "compact"}, []),
        ("output", {"cleanup__policy": "compact"}, []),
        ("changelog", {"cleanup__policy": "compact"}, []),
        ("changelog", {"cleanup__policy": "delete"}, [("fault", "changelog-policy")]),
        ("changelog", {"cleanup__policy": "compact,delete"}, [("fault", "changelog-policy")]),
        ("changelog", {"cleanup__policy": "compact", "max__message__bytes": "1048588"}, [("warning", "message-size")]),
        ("dead-letters", {"cleanup__policy": "compact"}, [("fault", "dead-letters-compacted")]),
        ("regrouped", {"retention__ms": "604800000"}, [("fault", "regrouped-retention")]),
        ("regrouped", {"message__timestamp__after__max__ms": "3600000"}, [("warning", "timestamps")]),
        ("output", {"unclean__leader__election__enable": "true"}, [("fault", "unclean-election")]),
        ("output", {"min__insync__replicas": "2"}, [("fault", "in-sync-replicas")]),
        ("input", {"min__insync__replicas": "2"}, []),
    ],
)
def test_a_setting_hurts_by_what_the_topic_is_for(
    role: Role, settings: dict[str, str], told: list[tuple[str, str]]
) -> None:
    assert wrong(check_topic(need(role), facts(**settings), brokers=1)) == told


@pytest.mark.parametrize(
    ("partition", "least", "told"),
    [
        (PartitionFacts(0, True, 3, 3), "2", []),
        (PartitionFacts(0, True, 3, 1), "2", [("fault", "in-sync-replicas")]),
        (PartitionFacts(0, True, 3, 3), "1", [("warning", "in-sync-replicas")]),
        (PartitionFacts(0, True, 1, 1), "1", [("warning", "replication")]),
        (PartitionFacts(0, False, 3, 3), "2", [("fault", "no-leader")]),
    ],
)
def test_replicas_are_held_against_what_a_commit_needs(
    partition: PartitionFacts, least: str, told: list[tuple[str, str]]
) -> None:
    assert wrong(check_topic(need("output"), facts(partition, min__insync__replicas=least), brokers=3)) == told


def test_a_topic_with_the_wrong_number_of_partitions_is_a_fault() -> None:
    assert wrong(check_topic(need("input", 2), facts(), brokers=1)) == [("fault", "partitions")]


def test_topics_that_do_not_exist_are_told_together() -> None:
    gone = TopicFacts("t", rights=Rights(refusal="UNKNOWN_TOPIC_OR_PART"))
    denied = TopicFacts("t", rights=Rights(refusal="TOPIC_AUTHORIZATION_FAILED"))
    pairs = [(need("input"), gone), (need("output"), gone), (need("changelog"), denied)]
    assert [finding.what for finding in missing(pairs)] == ["t, t do not exist"]
    assert [finding.what for finding in missing(pairs[:1])] == ["t does not exist"]
    assert [list(check_topic(wanted, found, brokers=1)) for wanted, found in pairs] == [[], [], []]


def test_a_topic_whose_settings_may_not_be_read_is_unknown() -> None:
    assert wrong(check_topic(need("input"), TopicFacts("t", [LONE]), brokers=1)) == [("unknown", "topic-settings")]


def test_a_broker_that_does_not_answer_for_a_topic_leaves_it_unknown() -> None:
    found = TopicFacts("t", rights=Rights(refusal="_TIMED_OUT"))
    assert wrong(check_topic(need("input"), found, brokers=1)) == [("unknown", "topic")]


@pytest.mark.parametrize(("room", "told"), [("1000", True), ("1001", False)])
def test_dead_letters_need_room_for_the_largest_input_and_headers(room: str, told: bool) -> None:
    pairs = [
        (need("input"), facts(max__message__bytes="1000")),
        (need("dead-letters"), facts(max__message__bytes=room)),
    ]
    assert wrong(dead_letter_room(pairs)) == ([("fault", "dead-letter-size")] if told else [])


def test_a_regrouped_topic_takes_as_much_as_dead_letters_since_its_records_were_an_input_s_before() -> None:
    pairs = [
        (need("input"), facts(max__message__bytes="1000")),
        (need("regrouped"), facts(max__message__bytes="2000")),
        (need("dead-letters"), facts(max__message__bytes="2000")),
    ]
    assert wrong(dead_letter_room(pairs)) == []


def test_an_input_of_records_larger_than_the_engine_writes_is_what_has_to_change() -> None:
    size = str(MAX_MESSAGE_BYTES)
    pairs = [(need("input"), facts(max__message__bytes=size)), (need("dead-letters"), facts(max__message__bytes=size))]
    [finding] = dead_letter_room(pairs)
    assert finding.remedy.startswith("lower the input's")


def test_rights_that_lack_are_named_with_whom_to_grant_them() -> None:
    found = TopicFacts("t", [LONE], rights=Rights(frozenset({"READ", "DESCRIBE"})))
    [finding] = topic_rights(need("changelog"), found)
    assert finding.remedy == "grant Write on topic t to the principal of these credentials"
    assert list(topic_rights(need("input"), found)) == []


def test_a_topic_that_may_not_be_seen_needs_all_its_rights() -> None:
    [finding] = topic_rights(need("changelog"), TopicFacts("t", rights=Rights(refusal="TOPIC_AUTHORIZATION_FAILED")))
    assert finding.remedy == "grant Read and Write on it"


@pytest.mark.parametrize(
    ("rights", "level"),
    [
        (Rights(frozenset({"READ"})), "fine"),
        (Rights(frozenset({"DESCRIBE"})), "fault"),
        (Rights(refusal="GROUP_AUTHORIZATION_FAILED"), "fault"),
        (Rights(refusal="_TIMED_OUT"), "unknown"),
        (Rights(), "unknown"),
    ],
)
def test_the_group_s_right_is_read(rights: Rights, level: str) -> None:
    assert [finding.level for finding in group_rights("g", rights)] == [level]


@pytest.mark.parametrize(
    ("refusal", "told"),
    [
        (None, ("fine", "transactions")),
        ("TRANSACTIONAL_ID_AUTHORIZATION_FAILED", ("fault", "transactional-rights")),
        ("_TIMED_OUT", ("fault", "transactions")),
    ],
)
def test_the_trial_of_a_transactional_id_is_told(refusal: str | None, told: tuple[str, str]) -> None:
    [finding] = transactional_rights("app.", TransactionTrial(refusal))
    assert (finding.level, finding.name) == told
