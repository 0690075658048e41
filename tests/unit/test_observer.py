"""The surface does nothing by itself, several observers hear the same, and outcomes wait for their commit."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from streamserve.observer import OUTCOMES, CommittedOutcomes, Observer, Observers

EVENTS = [name for name in vars(Observer) if not name.startswith("_")]


class Recorder(Observer):
    def __init__(self) -> None:
        self.heard: list[tuple[str, tuple[Any, ...]]] = []


def _hear(event: str) -> Any:
    def hear(self: Recorder, *args: Any) -> None:
        self.heard.append((event, args))

    return hear


for _event in EVENTS:
    setattr(Recorder, _event, _hear(_event))


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_reaches_every_observer_in_order(event: str) -> None:
    first, second = Recorder(), Recorder()
    both = Observers([first, second])
    arguments = tuple(range(len(inspect.signature(getattr(Observer, event)).parameters) - 1))
    getattr(both, event)(*arguments)
    assert first.heard == second.heard == [(event, arguments)]
    assert both.listeners(event) == [getattr(first, event), getattr(second, event)]
    assert getattr(Observer(), event)(*arguments) is None


def test_only_those_that_listen_are_called_however_deep_they_stand() -> None:
    class OnlyProgress(Observer):
        def progress(self) -> None: ...

    listener = OnlyProgress()
    nested = Observers([Observer(), Observers([Observer(), listener]), CommittedOutcomes(listener)])
    assert nested.listeners("progress") == [listener.progress, listener.progress]
    assert nested.listeners("polled") == []
    assert len(nested.listeners("emitted")) == 1  # outcomes wait in front of whoever listens


def test_a_method_that_was_put_on_one_observer_is_called() -> None:
    heard: list[str] = []
    observer = Observer()
    vars(observer)["progress"] = lambda: heard.append("progress")
    Observers([observer]).progress()
    assert heard == ["progress"]


def arguments_of(event: str) -> tuple[Any, ...]:
    """Return an argument for each of the event's parameters; the last, or how many records, is a number."""
    names = list(inspect.signature(getattr(Observer, event)).parameters)[1:]
    number = "records" if "records" in names else next(reversed(names), None)
    return tuple(5 if name == number else name for name in names)


def test_every_outcome_is_an_event() -> None:
    assert set(OUTCOMES) < set(EVENTS)


@pytest.mark.parametrize("event", sorted(set(EVENTS) - set(OUTCOMES)))
def test_work_is_told_at_once(event: str) -> None:
    heard = Recorder()
    getattr(CommittedOutcomes(heard), event)(*arguments_of(event))
    assert heard.heard == [(event, arguments_of(event))]


@pytest.mark.parametrize("event", OUTCOMES)
def test_an_outcome_is_told_before_its_commit_and_once(event: str) -> None:
    heard = Recorder()
    outcomes = CommittedOutcomes(heard)
    getattr(outcomes, event)(*arguments_of(event))
    assert heard.heard == []
    outcomes.committed(1, 0.1)
    outcomes.committed(2, 0.1)
    assert heard.heard == [(event, arguments_of(event)), ("committed", (1, 0.1)), ("committed", (2, 0.1))]


@pytest.mark.parametrize("event", OUTCOMES)
def test_an_aborted_outcome_is_never_told(event: str) -> None:
    heard = Recorder()
    outcomes = CommittedOutcomes(heard)
    getattr(outcomes, event)(*arguments_of(event))
    outcomes.aborted("TransactionAborted", "why")
    outcomes.committed(1, 0.1)
    assert heard.heard == [("aborted", ("TransactionAborted", "why")), ("committed", (1, 0.1))]


def test_counts_of_one_commit_are_told_as_one_sum_for_each_topic_and_reason() -> None:
    heard = Recorder()
    outcomes = CommittedOutcomes(heard)
    for reason, records in [("agent", 1), ("decode", 2), ("agent", 3)]:
        outcomes.dead_lettered("predict", reason, records, f"{reason} {records}")
    outcomes.committed(6, 0.1)
    assert heard.heard[:-1] == [
        ("dead_lettered", ("predict", "agent", 4, "agent 3")),
        ("dead_lettered", ("predict", "decode", 2, "decode 2")),
    ]
