"""Runs timers: functions without an event, whose outputs go into the same transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, TypeVar

from streamserve.dataflow.batch import Cause, DueTimers, FailedTimer, StepOutput, Tick
from streamserve.dataflow.driving.effects import Effect, InEventLoop, Send
from streamserve.dataflow.driving.faults import agent_error
from streamserve.dataflow.driving.io_driver import refusal_of, runs_for_agent
from streamserve.dataflow.driving.scope import TimerScope, current
from streamserve.dataflow.planning.nodes import KeyTimerNode, TableNode, TimerNode
from streamserve.dataflow.steps.tables import key_from_bytes
from streamserve.dataflow.steps.writers import TopicWriter
from streamserve.errors import ConfigurationError, EncodeError, OversizeError, RecordError, StreamserveError
from streamserve.records import Emission, ResultOrigin

T = TypeVar("T")


class _Runner:
    """Runs what timers are made of in the event loop, and makes messages of what they yield and send."""

    def __init__(self, writers: Mapping[str, TopicWriter], loop: asyncio.AbstractEventLoop) -> None:
        self._writers = writers
        self._loop = loop
        self._sent: list[Send] = []
        self._stray: ConfigurationError | None = None

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run ``work`` to its end; what it sends is kept for ``take_emissions``."""
        self._sent = []
        InEventLoop.submit = self._submit
        try:
            made = self._loop.run_until_complete(work)
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

    def drop_sent(self) -> None:
        """Forget what was sent so far."""
        self._sent = []

    def take_emissions(self, to: str | None, values: Sequence[Any]) -> list[Emission]:
        """Return ``values``, which go to topic ``to``, and what was sent, as messages.

        Raises:
            EncodeError: one of them does not fit its topic, or the topic belongs to another app.
        """
        made: list[Emission] = []
        if to is not None:
            writer = self._writers[to]
            encode, encode_key = writer.codec.encode_one, writer.keys.encode_key
            made += [Emission(to, encode(value), encode_key(value)) for value in values]
        if self._sent:
            sent, self._sent = self._sent, []
            made += map(self._emission, sent)
        return made

    def _emission(self, send: Send) -> Emission:
        if send.topic not in self._writers:
            raise EncodeError(f"topic {send.topic!r} belongs to another app")
        return self._writers[send.topic].emission(send)


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
        try:
            values = self._runner.run(_values_of(timer.function(), timer.to))
        except Exception as raised:
            if _is_beyond_one_key(raised):
                raise
            raise _hopeless(timer.name, f"raised {type(raised).__name__}") from raised
        try:
            emissions = self._runner.take_emissions(timer.to, values)
        except EncodeError as error:
            raise _hopeless(timer.name, str(error)) from error
        return StepOutput(timer.name, messages=[(emission, None) for emission in emissions])


class KeyTimerStep:
    """Runs a table's timer for each key that is due, one after the other, in the order of their times.

    A key for which it fails, or makes what ``refuses`` says that the broker does not take, is one of
    ``StepOutput.lost``: its tables are what they would be without it, and the others' timers run.
    """

    def __init__(
        self,
        tables: Mapping[str, TableNode],
        writers: Mapping[str, TopicWriter],
        loop: asyncio.AbstractEventLoop,
        refuses: Callable[[ResultOrigin], bool],
    ) -> None:
        self._tables = tables
        self._runner = _Runner(writers, loop)
        self._refuses = refuses

    def __call__(self, due: DueTimers) -> StepOutput:
        """Return what the timer yields and sends; what it does to tables is theirs when it has ended.

        Raises:
            ConfigurationError: it asks or sets what timers may not, whatever the key.
        """
        timer = self._tables[due.table].timer(due.clock)
        if timer is None:
            raise AssertionError("timers are taken out only where something runs")
        output = StepOutput(timer.step)
        self._runner.run(self._run(timer, due, output))
        return output

    async def _run(self, timer: KeyTimerNode, due: DueTimers, output: StepOutput) -> None:
        """Run all that is due; the event loop gives this a context of its own, which ends with it."""
        key_type = self._tables[due.table].key_type
        for key, at_ms in due.keys:
            now_ms = at_ms if due.time_ms is None else due.time_ms
            scope = TimerScope(due.part, due.partition, key, at_ms, due.clock, now_ms)
            self._runner.drop_sent()
            try:
                current.set(scope)
                values = await _values_of(timer.function(key_from_bytes(key_type, key)), timer.to)
                made = self._made(timer, key, values)
                scope.pending.commit()
            except Exception as raised:
                if _is_beyond_one_key(raised):
                    raise
                error = agent_error(timer.step, raised, "timer")
                output.lost.append(FailedTimer(due.table, due.partition, key, due.clock, at_ms, error))
            else:
                output.messages += made

    def _made(self, timer: KeyTimerNode, key: bytes, values: Sequence[Any]) -> list[tuple[Emission, Cause]]:
        """Return the messages of one key, each with its cause.

        Raises:
            RecordError: one of them does not fit its topic.
        """
        made: list[tuple[Emission, Cause]] = []
        for emission in self._runner.take_emissions(timer.to, values):
            origin = ResultOrigin(f"{timer.step} to {emission.topic}", key, 0, len(emission.value or b""))
            if self._refuses(origin):
                raise OversizeError(
                    f"timer {timer.step!r}: the broker refuses a message of {origin.size} bytes for topic"
                    f" {emission.topic!r}: raise its max.message.bytes, or let the timer write less"
                )
            made.append((emission, origin))
        return made


def _is_beyond_one_key(raised: Exception) -> bool:
    """Return whether an exception is neither the fault of a record nor of user code: an outage, or a wrong app."""
    return isinstance(raised, StreamserveError) and not isinstance(raised, RecordError)


def _hopeless(timer: str, what: str) -> ConfigurationError:
    return ConfigurationError(f"timer {timer!r}: {what}: mend it, there is no record to set aside")


async def _values_of(running: Any, to: str | None) -> list[Any]:
    """Return what a timer yields; one without a topic yields nothing."""
    if to is not None:
        return [value async for value in running]
    await running
    return []
