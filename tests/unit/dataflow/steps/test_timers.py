"""Timers yield, send and use asyncio; what goes wrong has no record to blame."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator
from typing import Any

import msgspec
import pytest

from streamserve.codecs.json import codec_for
from streamserve.codecs.keys import KeyCodec
from streamserve.dataflow.batch import StepOutput, Tick
from streamserve.dataflow.driving.effects import Send, ask, perform
from streamserve.dataflow.planning.nodes import TimerNode
from streamserve.dataflow.steps.timers import TimerStep
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import ConfigurationError, OutageError
from tests.unit.dataflow.fakes import FakeTarget


class Result(msgspec.Struct, frozen=True):
    n: int


@pytest.fixture
def loop() -> Generator[asyncio.AbstractEventLoop]:
    made = asyncio.new_event_loop()
    yield made
    made.close()


def run(loop: asyncio.AbstractEventLoop, function: Callable[[], AsyncIterator[Any]]) -> StepOutput:
    writers = {name: TopicWriter(name, codec_for(Result), KeyCodec("n")) for name in ("out", "side")}
    step = TimerStep({"t": TimerNode("t", 1000, "out", "worker", function)}, writers, loop)
    return step(Tick("t", None))


def test_a_timer_yields_and_sends(loop: asyncio.AbstractEventLoop) -> None:
    async def tick() -> AsyncIterator[Result]:
        await asyncio.sleep(0)
        await perform(Send("side", Result(2), None, 0, ()))
        yield Result(1)

    output = run(loop, tick)
    assert [(emission.topic, emission.key, origin) for emission, origin in output.messages] == [
        ("out", b"1", None),
        ("side", b"2", None),
    ]


async def raises() -> AsyncIterator[Result]:
    yield Result(1)
    raise KeyError("secret")


async def yields_wrong() -> AsyncIterator[object]:
    yield "text"


async def sends_wrong() -> AsyncIterator[object]:
    await perform(Send("side", "text", None, 0, ()))
    yield Result(1)


async def sends_elsewhere() -> AsyncIterator[object]:
    await perform(Send("foreign", Result(1), None, 0, ()))
    yield Result(1)


async def asks() -> AsyncIterator[object]:
    yield await ask(FakeTarget("features"), 1)


@pytest.mark.parametrize(
    ("function", "said"),
    [
        (raises, "timer 't': raised KeyError: mend it"),
        (yields_wrong, "timer 't': expected Result"),
        (sends_wrong, "timer 't': expected Result"),
        (sends_elsewhere, "'foreign' belongs to another app"),
        (asks, "a timer has none"),
    ],
)
def test_a_timer_that_fails_stops_the_worker(loop: asyncio.AbstractEventLoop, function: Any, said: str) -> None:
    with pytest.raises(ConfigurationError, match=said) as stopped:
        run(loop, function)
    assert "secret" not in str(stopped.value)


def test_an_outage_in_a_timer_is_waited_for(loop: asyncio.AbstractEventLoop) -> None:
    async def tick() -> AsyncIterator[Result]:
        yield Result(1)
        raise OutageError("away")

    with pytest.raises(OutageError):
        run(loop, tick)
