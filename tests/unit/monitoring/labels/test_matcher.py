from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.errors import ConfigurationError
from streamserve.monitoring.labels.entries import Label, Outcome, Predicted
from streamserve.monitoring.labels.matcher import MAX_EARLY, LabelMatcher

WITHIN = 100


def predicted(time_ms: int, role: str = "champion", version: str = "1") -> Predicted:
    return Predicted(time_ms, 0.5, "delay", version, role)


def predict(matcher: LabelMatcher, time_ms: int, role: str = "champion", version: str = "1") -> list[Outcome]:
    return matcher.predict([b"k"], [predicted(time_ms, role, version)])


def label(matcher: LabelMatcher, time_ms: int) -> list[Outcome]:
    return matcher.label([b"k"], [Label(time_ms, truth=True)])


def statuses(outcomes: Sequence[Outcome]) -> list[tuple[str, int | None]]:
    return [(outcome.status, outcome.delay_ms) for outcome in outcomes]


def test_a_label_within_the_bound_is_matched_with_its_delay() -> None:
    matcher = LabelMatcher(WITHIN)
    assert predict(matcher, 0) == []
    assert statuses(label(matcher, WITHIN)) == [("matched", WITHIN)]
    assert matcher.advance(WITHIN * 9) == []
    assert len(matcher) == 0


def test_a_label_that_never_comes_leaves_its_prediction_unlabelled_once_the_watermark_is_past_the_bound() -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    assert matcher.advance(WITHIN) == []
    assert statuses(matcher.advance(WITHIN + 1)) == [("unlabelled", None)]
    assert matcher.advance(WITHIN * 9) == []


def test_a_second_label_is_repeated() -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    assert [found.status for found in label(matcher, 10) + label(matcher, 20)] == ["matched", "repeated"]
    assert statuses(label(matcher, WITHIN + 20)) == [("repeated", WITHIN + 20)]


def test_a_second_prediction_within_the_bound_is_repeated_and_the_first_stands() -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    assert [(found.status, found.label) for found in predict(matcher, WITHIN, version="2")] == [("repeated", None)]
    assert [found.prediction for found in label(matcher, 50)] == [predicted(0)]


def test_a_prediction_beyond_the_bound_of_the_first_is_another_one() -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    label(matcher, 30)
    assert predict(matcher, WITHIN + 1) == []
    assert statuses(label(matcher, WITHIN + 50)) == [("matched", 49)]


def test_an_early_label_is_matched_with_a_negative_delay() -> None:
    matcher = LabelMatcher(WITHIN)
    assert label(matcher, 0) == []
    (found,) = predict(matcher, WITHIN)
    assert (found.status, found.delay_ms, found.is_early) == ("matched", -WITHIN, True)


def test_an_early_label_whose_prediction_does_not_come_is_unpredicted() -> None:
    matcher = LabelMatcher(WITHIN)
    label(matcher, 0)
    assert matcher.advance(WITHIN) == []
    assert [found.status for found in matcher.advance(WITHIN + 1)] == ["unpredicted"]
    assert len(matcher) == 0


def test_labels_that_wait_under_one_key_are_bounded() -> None:
    matcher = LabelMatcher(WITHIN)
    found = [outcome for time_ms in range(MAX_EARLY + 3) for outcome in label(matcher, time_ms)]
    assert [outcome.status for outcome in found] == ["repeated"] * 3
    assert Counter(outcome.status for outcome in predict(matcher, 50)) == {"matched": 1, "repeated": MAX_EARLY - 1}


@pytest.mark.parametrize("given_up", [True, False])
def test_a_label_after_the_bound_is_late_whether_the_watermark_has_passed_or_not(given_up: bool) -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    before = matcher.advance(WITHIN + 1) if given_up else []
    assert statuses(label(matcher, WITHIN + 1)) == [("late", WITHIN + 1)]
    assert [found.status for found in before + matcher.advance(WITHIN * 9)] == ["unlabelled"]


def test_a_label_in_the_bound_that_arrives_after_its_prediction_was_given_up_is_late() -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    matcher.advance(WITHIN + 1)
    assert statuses(label(matcher, 50)) == [("late", 50)]


def test_one_label_serves_the_served_prediction_and_each_shadow_in_any_order() -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    predict(matcher, 0, role="shadow", version="2")
    assert [found.prediction for found in label(matcher, 5)] == [predicted(0), predicted(0, "shadow", "2")]
    assert statuses(predict(matcher, 1, role="shadow", version="3")) == [("matched", 4)]
    assert [found.status for found in predict(matcher, 1, role="shadow", version="3")] == ["repeated"]


def test_a_key_is_forgotten_after_twice_the_bound() -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    matcher.advance(2 * WITHIN)
    assert len(matcher) == 1
    matcher.advance(2 * WITHIN + 1)
    assert len(matcher) == 0
    keys, values = matcher.take_changes()
    assert (keys, values) == ([b"k"], [None])


def test_an_unknown_format_says_which_and_what_to_do() -> None:
    with pytest.raises(ConfigurationError, match=r"format version 9, but this release reads 1.*delete the changelog"):
        LabelMatcher(WITHIN).load([b"k"], [b"\x09"])
    with pytest.raises(ConfigurationError, match=r"damaged"):
        LabelMatcher(WITHIN).load([b"k"], [b"\x01\xc1"])


class Key(NamedTuple):
    """What happens under one key: at most one prediction, and labels as offsets to it."""

    prediction_ms: int
    is_predicted: bool
    offsets: list[int]


keys = st.builds(Key, st.integers(0, 500), st.booleans(), st.lists(st.integers(-3 * WITHIN, 2 * WITHIN), max_size=4))


def expected_of(key: Key) -> Counter[str]:
    if not key.is_predicted:
        return Counter({"unpredicted": len(key.offsets)})
    fitting = sum(abs(offset) <= WITHIN for offset in key.offsets)
    after = sum(offset > WITHIN for offset in key.offsets)
    found = Counter({"matched": min(1, fitting), "repeated": max(0, fitting - 1)})
    found += Counter({"unlabelled": int(not fitting), "unpredicted": len(key.offsets) - fitting - after})
    return found + Counter({"repeated" if fitting else "late": after})


def play(given_keys: Sequence[Key], restore_at: Sequence[bool]) -> list[Outcome]:
    """Play all events in the order of time, with a commit after each, starting again from the log where told to."""
    events: list[tuple[int, bytes, bool]] = []
    for index, key in enumerate(given_keys):
        name = str(index).encode()
        events += [(key.prediction_ms, name, True)] if key.is_predicted else []
        events += [(key.prediction_ms + offset, name, False) for offset in key.offsets]
    matcher, log = LabelMatcher(WITHIN), dict[bytes, bytes | None]()
    outcomes: list[Outcome] = []
    for index, (time_ms, name, is_prediction) in enumerate(sorted(events)):
        if is_prediction:
            outcomes += matcher.predict([name], [predicted(time_ms)])
        else:
            outcomes += matcher.label([name], [Label(time_ms, truth=False)])
        outcomes += matcher.advance(time_ms)
        log.update(zip(*matcher.take_changes(), strict=True))
        if index < len(restore_at) and restore_at[index]:
            matcher = LabelMatcher(WITHIN)
            matcher.load(list(log), list(log.values()))
            matcher.loaded()
    outcomes += matcher.advance(10_000)
    log.update(zip(*matcher.take_changes(), strict=True))
    assert len(matcher) == 0
    assert set(log.values()) <= {None}
    return outcomes


@given(st.lists(keys, max_size=6))
def test_statuses_are_those_of_an_independent_computation(given_keys: list[Key]) -> None:
    expected = sum(map(expected_of, given_keys), Counter[str]())
    assert Counter(outcome.status for outcome in play(given_keys, ())) == expected


@given(st.lists(keys, max_size=6), st.lists(st.booleans(), max_size=30))
def test_a_restore_at_any_moment_changes_nothing(given_keys: list[Key], restore_at: list[bool]) -> None:
    assert play(given_keys, restore_at) == play(given_keys, ())


@pytest.mark.parametrize("is_forgotten", [False, True])
def test_what_becomes_of_a_label_after_its_prediction_is_forgotten_does_not_depend_on_when_that_is_dropped(
    *, is_forgotten: bool
) -> None:
    """A batch may end, and time move on, between the two, or not."""
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    late = 2 * WITHIN + 1
    outcomes = matcher.advance(late) if is_forgotten else []
    outcomes += label(matcher, late)
    outcomes += matcher.advance(WITHIN * 9)
    assert statuses(outcomes) == [("unlabelled", None), ("unpredicted", None)]


def test_a_label_is_late_until_its_prediction_is_forgotten() -> None:
    matcher = LabelMatcher(WITHIN)
    predict(matcher, 0)
    matcher.advance(2 * WITHIN)
    assert statuses(label(matcher, 2 * WITHIN)) == [("late", 2 * WITHIN)]
