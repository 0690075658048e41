"""Runs timers: generators without a stream, whose outputs go into the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from streamserve.dataflow.batch import StepOutput, Tick
from streamserve.dataflow.effects import Effect, InEventLoop, Send
from streamserve.dataflow.plan import TimerNode
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import ConfigurationError, EncodeError, RecordError, StreamserveError
from streamserve.records import Emission


class TimerStep:
    """Runs the timer of a tick to its end."""

    def __init__(
        self, timers: Mapping[str, TimerNode], writers: Mapping[str, TopicWriter], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._timers = timers
        self._writers = writers
        self._loop = loop
        self._sent: list[Send] = []

    def __call__(self, tick: Tick) -> StepOutput:
        """Return what the timer yields and sends.

        Raises:
            ConfigurationError: it raised, or yielded what does not fit its topic; there is no record to set aside.
        """
        timer = self._timers[tick.timer]
        values = self._run(timer)
        output = StepOutput(timer.name)
        payloads, keys = self._writers[timer.to].encode(values)
        for payload, key in zip(payloads, keys, strict=True):
            if isinstance(payload, EncodeError):
                raise _hopeless(timer, str(payload))
            output.messages.append((Emission(timer.to, payload, key), None))
        output.messages.extend((self._emission(timer, send), None) for send in self._sent)
        return output

    def _run(self, timer: TimerNode) -> list[Any]:
        self._sent = []
        InEventLoop.submit = self._submit
        try:
            return self._loop.run_until_complete(_collect(timer.function()))
        except Exception as raised:
            if isinstance(raised, StreamserveError) and not isinstance(raised, RecordError):
                raise
            raise _hopeless(timer, f"raised {type(raised).__name__}") from raised
        finally:
            InEventLoop.submit = None

    async def _submit(self, effect: Effect) -> None:
        """Keep what is sent; there is no event to ask about anything else."""
        if not isinstance(effect, Send):
            raise ConfigurationError("features and models answer to events: a timer has none, so it cannot ask them")
        self._sent.append(effect)

    def _emission(self, timer: TimerNode, send: Send) -> Emission:
        if send.topic not in self._writers:
            raise _hopeless(timer, f"topic {send.topic!r} belongs to another app")
        try:
            return self._writers[send.topic].emission(send)
        except EncodeError as error:
            raise _hopeless(timer, str(error)) from error


def _hopeless(timer: TimerNode, what: str) -> ConfigurationError:
    return ConfigurationError(f"timer {timer.name!r}: {what}: mend it, there is no record to set aside")


async def _collect(generator: Any) -> list[Any]:
    return [value async for value in generator]
