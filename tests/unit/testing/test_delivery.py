"""The checker names exactly the injury that a correct history has suffered."""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve.errors import ConfigurationError
from streamserve.testing.checks import Expected, Injury, InputRecord, OutcomeRecord, Report, check_delivery
from streamserve.testing.delivery import DeliveryCheck

DEAD = "app-dead-letters"
OUTPUTS = {"delays": 1, "audit": 2}
EXPECTED = Expected(outputs=OUTPUTS, dead_letter_topic=DEAD)
UNHURRIED = settings(deadline=None)  # machines that run several suites at once stall for longer than 200 ms


@dataclass
class History:
    """A correct history: some offsets are missing (transaction markers), some inputs are not committed yet."""

    inputs: list[InputRecord]
    committed: dict[tuple[str, int], int]
    topics: dict[str, list[InputRecord]]
    by_uid: bool

    def outcomes(self) -> list[OutcomeRecord]:
        """Return the outcomes in the order of each topic; one output partition for each input partition."""
        return [
            OutcomeRecord(
                topic,
                source.partition,
                offset,
                source=None if self.by_uid else (source.topic, source.partition, source.offset),
                uid=source.uid if self.by_uid else None,
            )
            for topic, sources in self.topics.items()
            for offset, source in enumerate(sources)
        ]

    def report(self) -> Report:
        return check_delivery(self.inputs, self.outcomes(), self.committed, expected=EXPECTED)


@st.composite
def histories(draw: st.DrawFn) -> History:
    history = History([], {}, {"delays": [], "audit": [], DEAD: []}, by_uid=draw(st.booleans()))
    for partition in range(draw(st.integers(1, 3))):
        offsets = sorted(draw(st.sets(st.integers(0, 40), min_size=3)))
        due = draw(st.integers(2, len(offsets)))
        history.committed["flights", partition] = offsets[due - 1] + 1
        for place, offset in enumerate(offsets):
            source = InputRecord("flights", partition, offset, uid=f"{partition}/{offset}")
            history.inputs.append(source)
            if place >= due:
                continue
            if draw(st.integers(0, 4)) == 0:
                history.topics[DEAD].append(source)
            else:
                history.topics["delays"].append(source)
                history.topics["audit"] += [source, source]
    return history


def injuries(report: Report) -> dict[Injury, int]:
    return {injury: count for injury, count in report.counts().items() if count}


def with_outputs(history: History) -> bool:
    return bool(history.topics["delays"])


@UNHURRIED
@given(histories())
def test_a_correct_history_has_no_anomaly(history: History) -> None:
    report = history.report()
    assert injuries(report) == {}
    assert report.anomalies == 0
    assert report.examples == {}
    assert report.inputs == len(history.inputs)
    assert report.dead_letters == len(history.topics[DEAD])
    assert report.outcomes == report.committed + len(history.topics["delays"]) * 2


@UNHURRIED
@given(histories(), st.data())
def test_every_dropped_input_is_lost(history: History, data: st.DataObject) -> None:
    committed = [source for sources in history.topics.values() for source in sources]
    victims = data.draw(st.sets(st.sampled_from(committed), min_size=1))
    for topic, sources in history.topics.items():
        history.topics[topic] = [source for source in sources if source not in victims]
    assert injuries(history.report()) == {"lost": len(victims)}


@UNHURRIED
@given(histories(), st.data())
def test_every_repeated_outcome_is_a_duplicate(history: History, data: st.DataObject) -> None:
    topic = data.draw(st.sampled_from([topic for topic, sources in history.topics.items() if sources]))
    sources = history.topics[topic]
    replayed = data.draw(st.integers(0, len(sources) - 1))
    times = len(sources) - replayed
    history.topics[topic] = [*sources, *sources[replayed:]]
    assert injuries(history.report()) == {"duplicated": times}


@UNHURRIED
@given(histories().filter(with_outputs), st.data())
def test_a_dead_letter_beside_the_outputs_is_a_duplicate(history: History, data: st.DataObject) -> None:
    victim = data.draw(st.sampled_from(history.topics["delays"]))
    history.topics[DEAD].append(victim)
    found = injuries(history.report())
    assert found["duplicated"] == 1
    assert set(found) <= {"duplicated", "reordered"}


@UNHURRIED
@given(histories(), st.data())
def test_every_swap_of_two_neighbours_is_out_of_order(history: History, data: st.DataObject) -> None:
    sources = history.topics["delays"]
    swaps = [place for place, (one, other) in enumerate(pairwise(sources)) if one.partition == other.partition]
    if not swaps:
        return
    place = data.draw(st.sampled_from(swaps))
    sources[place], sources[place + 1] = sources[place + 1], sources[place]
    assert injuries(history.report()) == {"reordered": 1}


@UNHURRIED
@given(histories().filter(with_outputs), st.data())
def test_a_cut_transaction_is_torn(history: History, data: st.DataObject) -> None:
    """All that one transaction wrote to one of the two topics is missing."""
    cut = data.draw(st.sets(st.sampled_from(history.topics["delays"]), min_size=1))
    topic = data.draw(st.sampled_from(list(OUTPUTS)))
    history.topics[topic] = [source for source in history.topics[topic] if source not in cut]
    assert injuries(history.report()) == {"torn": len(cut)}


@UNHURRIED
@given(histories().filter(with_outputs), st.data())
def test_outcomes_above_the_committed_offset_are_premature(history: History, data: st.DataObject) -> None:
    first = data.draw(st.sampled_from(history.topics["delays"] + history.topics[DEAD]))
    at = (first.topic, first.partition)
    history.committed[at] = first.offset
    above = [
        source
        for sources in history.topics.values()
        for source in sources
        if (source.topic, source.partition) == at and source.offset >= first.offset
    ]
    assert injuries(history.report()) == {"premature": len(above)}


@UNHURRIED
@given(histories().filter(with_outputs), st.data())
def test_an_outcome_without_an_input_is_a_phantom(history: History, data: st.DataObject) -> None:
    victim = data.draw(st.sampled_from(history.topics["delays"]))
    history.inputs.remove(victim)
    assert injuries(history.report()) == {"phantom": 3}


def test_one_outcome_on_any_topic_is_right_when_nothing_else_is_expected() -> None:
    inputs = [InputRecord("flights", 0, offset) for offset in range(3)]
    outcomes = [OutcomeRecord(topic, 0, 0, ("flights", 0, n)) for n, topic in enumerate(["delays", DEAD, "other"])]
    assert check_delivery(inputs, outcomes, {("flights", 0): 3}).anomalies == 0


def test_nothing_is_right_where_the_agent_filters() -> None:
    inputs = [InputRecord("flights", 0, offset) for offset in range(3)]
    expected = Expected(outputs={"delays": 1}, dead_letter_topic=DEAD, filtering=True)
    kept = [OutcomeRecord("delays", 0, 0, ("flights", 0, 1))]
    assert check_delivery(inputs, kept, {("flights", 0): 3}, expected=expected).anomalies == 0


def test_an_app_without_outputs_may_write_dead_letters_only() -> None:
    inputs = [InputRecord("weather", 0, offset) for offset in range(3)]
    expected = Expected(outputs={}, dead_letter_topic=DEAD)
    letters = [OutcomeRecord(DEAD, 0, 0, ("weather", 0, 1)), OutcomeRecord(DEAD, 0, 1, ("weather", 0, 1))]
    report = check_delivery(inputs, letters, {("weather", 0): 3}, expected=expected)
    assert injuries(report) == {"duplicated": 1}


def test_inputs_committed_while_the_outcomes_were_read_are_not_judged() -> None:
    inputs = [InputRecord("flights", 0, offset) for offset in range(5)]
    check = DeliveryCheck(inputs, EXPECTED)
    check.read(OutcomeRecord(DEAD, 0, n, ("flights", 0, n)) for n in (0, 1, 2, 4))
    report = check.report({("flights", 0): 2}, committed_after={("flights", 0): 4})
    assert injuries(report) == {"premature": 1}
    assert report.committed == 2


def test_a_partition_without_a_committed_offset_has_nothing_due() -> None:
    report = check_delivery([InputRecord("flights", 0, 0)], [], {})
    assert (report.anomalies, report.committed) == (0, 0)


def test_examples_give_coordinates_and_are_limited() -> None:
    inputs = [InputRecord("flights", 0, offset) for offset in range(100)]
    report = check_delivery(inputs, [], {("flights", 0): 100}, examples=2)
    assert report.lost == 100
    assert report.examples == {"lost": ("flights[0]@0: no outcome", "flights[0]@1: no outcome")}


def test_uids_do_not_show_in_the_report() -> None:
    report = check_delivery([], [OutcomeRecord("delays", 0, 7, uid="passenger 17")], {})
    assert report.phantom == 1
    assert "passenger" not in str(report)
    assert "delays[0]@7: names a uid that no input has" in str(report)


def test_the_report_is_json() -> None:
    report = check_delivery([InputRecord("flights", 0, 0)], [], {("flights", 0): 1})
    data = json.loads(json.dumps(report.as_dict()))
    assert (data["lost"], data["anomalies"]) == (1, 1)
    assert data["examples"] == {"lost": ["flights[0]@0: no outcome"]}


def test_two_inputs_with_one_uid_are_refused() -> None:
    inputs = [InputRecord("flights", 0, 0, uid="a"), InputRecord("flights", 1, 0, uid="a")]
    with pytest.raises(ConfigurationError, match=r"flights\[0\]@0 and flights\[1\]@0 have one uid"):
        check_delivery(inputs, [], {})


def test_an_outcome_on_an_unknown_topic_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="topic other, which nothing expects"):
        check_delivery([], [OutcomeRecord("other", 0, 0)], {}, expected=EXPECTED)


def test_a_dead_letter_topic_among_the_outputs_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="delays is named as an output"):
        Expected(outputs={"delays": 1}, dead_letter_topic="delays")


def test_dead_letters_of_one_step_keep_their_order_and_those_of_two_need_not() -> None:
    inputs = [InputRecord("flights", 0, offset) for offset in range(3)]
    expected = Expected(outputs={}, dead_letter_topic=DEAD)

    def reordered(*steps: str) -> int:
        sources = zip((1, 0, 2), steps, strict=True)
        letters = [OutcomeRecord(DEAD, 0, n, ("flights", 0, at), step=step) for n, (at, step) in enumerate(sources)]
        return check_delivery(inputs, letters, {("flights", 0): 3}, expected=expected).reordered

    assert reordered("decode", "agent", "agent") == 0
    assert reordered("agent", "agent", "agent") == 1


def test_inputs_that_are_entered_later_stand_behind_those_before() -> None:
    check = DeliveryCheck([InputRecord("flights", 0, 5)], EXPECTED)
    check.enter([InputRecord("flights", 0, 7), InputRecord("flights", 0, 6)])
    assert check.report({("flights", 0): 8}).counts()["lost"] == 3
    with pytest.raises(ConfigurationError, match=r"flights\[0\]@6 was entered after flights\[0\]@7"):
        check.enter([InputRecord("flights", 0, 6)])
