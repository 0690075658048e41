"""Runs timers: functions without an event, whose outputs go into the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine, Mapping
from typing import Any, TypeVar

from streamserve.dataflow.batch import DueTimers, StepOutput, Tick
from streamserve.dataflow.effects import Effect, InEventLoop, Send
from streamserve.dataflow.io_driver import refusal_of, runs_for_agent
from streamserve.dataflow.plan import KeyTimerNode, TableNode, TimerNode
from streamserve.dataflow.scope import TimerScope, within
from streamserve.dataflow.steps.tables import key_from_bytes
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import ConfigurationError, EncodeError, RecordError, StreamserveError
from streamserve.records import Emission

T = TypeVar("T")


class _Runner:
    """Runs what timers are made of in the event loop, and makes messages of what they yield and send.

    Raises (from every method):
        ConfigurationError: it raised, or made what does not fit its topic; there is no record to set aside.
    """

    def __init__(self, writers: Mapping[str, TopicWriter], loop: asyncio.AbstractEventLoop) -> None:
        self._writers = writers
        self._loop = loop
        self._sent: list[Send] = []
        self._stray: ConfigurationError | None = None

    def run(self, who: str, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end; what it sends is kept for ``messages``."""
        self._sent = []
        InEventLoop.submit = self._submit
        try:
            made = self._loop.run_until_complete(work)
        except Exception as raised:
            if isinstance(raised, StreamserveError) and not isinstance(raised, RecordError):
                raise
            raise _hopeless(who, f"raised {type(raised).__name__}") from raised
        finally:
            InEventLoop.submit = None
        if self._stray is not None:
            raise self._stray
        return made

    async def _submit(self, effect: Effect) -> None:
        """Keep what is sent; there is no event to ask about anything else.

        Tasks that agents left behind run while the timer waits: what they send is not its.
        """
        if runs_for_agent():
            self._stray = refusal_of(effect)
            raise self._stray
        if not isinstance(effect, Send):
            raise ConfigurationError("features and models answer to events: a timer has none, so it cannot ask them")
        self._sent.append(effect)

    def messages(self, who: str, to: str | None, values: list[Any]) -> StepOutput:
        """Return ``values``, which go to topic ``to``, and what was sent, as messages."""
        output = StepOutput(who)
        if to is not None:
            payloads, keys = self._writers[to].encode(values)
            for payload, key in zip(payloads, keys, strict=True):
                if isinstance(payload, EncodeError):
                    raise _hopeless(who, str(payload))
                output.messages.append((Emission(to, payload, key), None))
        output.messages.extend((self._emission(who, send), None) for send in self._sent)
        return output

    def _emission(self, who: str, send: Send) -> Emission:
        if send.topic not in self._writers:
            raise _hopeless(who, f"topic {send.topic!r} belongs to another app")
        try:
            return self._writers[send.topic].emission(send)
        except EncodeError as error:
            raise _hopeless(who, str(error)) from error


class TimerStep:
    """Runs the timer of a tick to its end."""

    def __init__(
        self, timers: Mapping[str, TimerNode], writers: Mapping[str, TopicWriter], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._timers = timers
        self._runner = _Runner(writers, loop)

    def __call__(self, tick: Tick) -> StepOutput:
        """Return what the timer yields and sends.

        Raises:
            ConfigurationError: it raised, or yielded what does not fit its topic; there is no record to set aside.
        """
        timer = self._timers[tick.timer]
        running = timer.function()
        values = self._runner.run(timer.name, _collect(running) if timer.to is not None else _no_values(running))
        return self._runner.messages(timer.name, timer.to, values)


class KeyTimerStep:
    """Runs a table's timer for each key that is due, one after the other, in the order of their times."""

    def __init__(
        self, tables: Mapping[str, TableNode], writers: Mapping[str, TopicWriter], loop: asyncio.AbstractEventLoop
    ) -> None:
        self._tables = tables
        self._runner = _Runner(writers, loop)

    def __call__(self, due: DueTimers) -> StepOutput:
        """Return what the timer yields and sends; what it does to tables is theirs when it has ended.

        Raises:
            ConfigurationError: it raised, or yielded what does not fit its topic; there is no record to set aside.
        """
        timer = self._tables[due.table].timer
        if timer is None:
            raise AssertionError("timers are taken out only where something runs")
        who = f"{due.table}-timer"
        return self._runner.messages(who, timer.to, self._runner.run(who, self._run(timer, due)))

    async def _run(self, timer: KeyTimerNode, due: DueTimers) -> list[Any]:
        values: list[Any] = []
        key_type = self._tables[due.table].key_type
        for key, at_ms in due.keys:
            scope = TimerScope(due.part, due.partition, key, at_ms)
            with within(scope):
                work = timer.function(key_from_bytes(key_type, key))
                if timer.to is None:
                    await work
                else:
                    values += await _collect(work)
            scope.pending.commit()
        return values


def _hopeless(timer: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"timer {timer!r}: {what}: mend it, there is no record to set aside")


async def _no_values(running: Awaitable[object]) -> list[Any]:
    await running
    return []


async def _collect(generator: Any) -> list[Any]:
    return [value async for value in generator]
