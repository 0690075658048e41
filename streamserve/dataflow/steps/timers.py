"""Runs timers: generators without a stream, whose outputs go into the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from streamserve.dataflow.batch import StepOutput, Tick
from streamserve.dataflow.plan import TimerNode
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import AgentError, ConfigurationError, EncodeError
from streamserve.records import Emission


class TimerStep:
    """Runs the timer of a tick to its end."""

    def __init__(
        self, timers: Mapping[str, TimerNode], writers: Mapping[str, TopicWriter], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._timers = timers
        self._writers = writers
        self._loop = loop

    def __call__(self, tick: Tick) -> StepOutput:
        """Return what the timer yields.

        Raises:
            ConfigurationError: it raised, or yielded what does not fit its topic; there is no record to set aside.
        """
        timer = self._timers[tick.timer]
        output = StepOutput(timer.name)
        try:
            values = self._loop.run_until_complete(_collect(timer.function()))
        except Exception as raised:
            error = AgentError(f"timer {timer.name!r} raised {type(raised).__name__}")
            raise ConfigurationError(f"{error}: mend it, there is no record to set aside") from raised
        writer = self._writers[timer.to]
        payloads, keys = writer.encode(values)
        for payload, key in zip(payloads, keys, strict=True):
            if isinstance(payload, EncodeError):
                raise ConfigurationError(f"timer {timer.name!r}: {payload}")
            output.messages.append((Emission(timer.to, payload, key), None))
        return output


async def _collect(generator: Any) -> list[Any]:
    return [value async for value in generator]
