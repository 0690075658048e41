"""The observer's surface does nothing by itself, and several observers hear the same."""

from __future__ import annotations

import inspect
from typing import Any

import pytest

from streamserve.observer import Observer, Observers

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
    assert both.members == (first, second)
    assert getattr(Observer(), event)(*arguments) is None
