"""Each kind of anomaly, planted in a history that is otherwise as it must be, is found and named."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from streamserve.testing.verify.findings import KINDS, Kind
from tests.unit.testing.verify.planting import NAMES, Planted, kept_contract, table_value

Plant = Callable[[Planted], object]


def found_in(planted: Planted, *, over: bool = True) -> dict[Kind, int]:
    counts = planted.judge(over=over).findings.counts
    return {kind: count for kind, count in counts.items() if count}


def again(topic: str) -> Plant:
    """Return what writes the first record of ``topic`` once more at its end."""

    def plant(planted: Planted) -> None:
        record = planted.topics[topic][0]
        planted.put(topic, record.partition, (record.key or b"").decode(), record.value, *record.headers)  # pyright: ignore[reportArgumentType]

    return plant


def without(topic: str, place: int = 0) -> Plant:
    return lambda planted: planted.topics[topic].pop(place)


def swapped(topic: str) -> Plant:
    """Return what lets two neighbours of one partition change places."""

    def plant(planted: Planted) -> None:
        records = planted.topics[topic]
        sources = [(record.partition, json.loads(record.value or b"")["partition"]) for record in records]
        first, second = [at for at, source in enumerate(sources) if source == (0, 0)][:2]
        one, two = records[first], records[second]
        records[first], records[second] = one._replace(value=two.value), two._replace(value=one.value)

    return plant


def changed(topic: str, **fields: object) -> Plant:
    return lambda planted: planted.change(topic, 0, **fields)


def with_table(count: int, chain: int) -> Plant:
    def plant(planted: Planted) -> None:
        record = planted.topics[NAMES.chains][0]
        planted.topics[NAMES.chains][0] = record._replace(value=table_value(count, chain))

    return plant


def both_outputs_gone(planted: Planted) -> None:
    source = json.loads(planted.topics[NAMES.answers].pop(5).value or b"")
    place = (source["partition"], source["offset"])
    guesses = planted.topics[NAMES.guesses]
    told = [json.loads(guess.value or b"") for guess in guesses]
    guesses.pop([(guess["partition"], guess["offset"]) for guess in told].index(place))


def committed_too_little(planted: Planted) -> None:
    planted.before[NAMES.inputs, 0] -= 1


def test_a_history_as_it_must_be_has_no_anomaly() -> None:
    judgement = kept_contract().judge()
    assert judgement.findings.anomalies == 0, judgement.findings.examples
    assert (judgement.inputs, judgement.committed, judgement.incarnations) == (3002, 3002, 1)
    assert judgement.dead_letters == 14


@pytest.mark.parametrize(
    ("kind", "plant"),
    [
        ("lost", both_outputs_gone),
        ("lost", without(NAMES.dead_letters)),
        ("lost", without(NAMES.windows)),
        ("lost", without(NAMES.groups)),
        ("lost", without(NAMES.drift)),
        ("lost", without(NAMES.performance)),
        ("duplicated", again(NAMES.answers)),
        ("duplicated", again(NAMES.guesses)),
        ("duplicated", again(NAMES.dead_letters)),
        ("duplicated", again(NAMES.windows)),
        ("duplicated", again(NAMES.groups)),
        ("duplicated", again(NAMES.drift)),
        ("duplicated", again(NAMES.performance)),
        ("reordered", swapped(NAMES.answers)),
        ("reordered", swapped(NAMES.guesses)),
        ("phantom", changed(NAMES.guesses, offset=10**6)),
        ("phantom", changed(NAMES.windows, key="nobody")),
        ("phantom", changed(NAMES.groups, key="nobody")),
        ("phantom", changed(NAMES.performance, key="1")),
        ("torn", without(NAMES.answers)),
        ("torn", without(NAMES.guesses)),
        ("torn", without(NAMES.chains)),
        ("torn", with_table(1, 0)),
        ("torn", committed_too_little),
        ("stale", changed(NAMES.answers, count=99)),
        ("stale", changed(NAMES.answers, chain=99)),
        ("stale", changed(NAMES.answers, id=99_999)),
        ("stale", changed(NAMES.windows, value=99)),
        ("stale", changed(NAMES.groups, value=99)),
        ("stale", changed(NAMES.drift, count=99)),
        ("stale", changed(NAMES.performance, status="late")),
    ],
)
def test_what_is_planted_is_found(kind: Kind, plant: Plant) -> None:
    planted = kept_contract()
    plant(planted)
    assert kind in found_in(planted)


def test_state_of_other_inputs_is_stale_even_if_their_number_is_right() -> None:
    planted = kept_contract()
    record = planted.topics[NAMES.chains][0]
    count = json.loads((record.value or b"")[9:])["count"]
    with_table(count, 12345)(planted)
    assert found_in(planted) == {"stale": 1}


def test_a_dead_letter_of_a_good_input_is_found() -> None:
    planted = kept_contract()
    place = json.loads(planted.topics[NAMES.answers][3].value or b"")
    both = {"source-topic": NAMES.inputs, "source-partition": place["partition"], "source-offset": place["offset"]}
    planted.put(NAMES.dead_letters, 0, "", b"", *((name, str(value).encode()) for name, value in both.items()))
    found = found_in(planted)
    assert (found["lost"], found["duplicated"]) == (1, 1)


def test_beside_a_running_app_only_what_must_be_there_by_now_is_missed() -> None:
    planted = kept_contract()
    planted.after = dict(planted.before)
    planted.before = {place: offset // 2 for place, offset in planted.before.items()}
    for topic in (NAMES.windows, NAMES.groups, NAMES.drift, NAMES.performance, NAMES.answers):
        planted.topics[topic].pop()
    assert found_in(planted, over=False) == {}
    planted.topics[NAMES.answers].pop(0)
    assert found_in(planted, over=False) == {"torn": 1}


def test_beside_a_running_app_the_changelog_lies_between_the_offsets_before_and_after() -> None:
    planted = kept_contract()
    planted.after = dict(planted.before)
    planted.before = dict.fromkeys(planted.before, 0)
    assert found_in(planted, over=False) == {}
    planted.after = dict.fromkeys(planted.before, 0)
    assert set(found_in(planted, over=False)) == {"torn"}


@pytest.mark.parametrize("inputs", [1, 1500, 3000])
def test_judged_beside_the_run_and_on_from_there_a_history_comes_to_the_same(inputs: int) -> None:
    planted = kept_contract()
    again(NAMES.performance)(planted)
    changed(NAMES.windows, value=99)(planted)
    planted.topics[NAMES.guesses].pop()
    beside, over = planted.judge_in_two(inputs)
    assert (beside.inputs, beside.findings.counts["phantom"], beside.findings.counts["lost"]) == (inputs, 0, 0)
    assert over == planted.judge()
    assert found_in(planted) == {"duplicated": 1, "stale": 1, "torn": 1}


def test_every_kind_is_planted_here() -> None:
    marks = test_what_is_planted_is_found.pytestmark  # pyright: ignore[reportFunctionMemberAccess]
    assert {case[0] for case in marks[0].args[1]} == set(KINDS)
