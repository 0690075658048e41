"""Drives agents declared with ``io=True`` as real asyncio tasks, so that clients, ``gather`` and ``timeout`` work.

The event loop runs only while a batch is processed and lives as long as the driver. Feature look-ups and predictions
become futures; they are answered in batches whenever the loop has nothing else to run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.driver import INSTANCES, Outcomes, places
from streamserve.dataflow.driving.effects import Effect, Gather, InEventLoop, Next, Send, Take, Target
from streamserve.dataflow.driving.faults import agent_error, never_reads, outside_event
from streamserve.dataflow.driving.instances import Lots
from streamserve.dataflow.driving.scope import EventScopes, current, finish_event
from streamserve.dataflow.planning.nodes import Ordering
from streamserve.errors import ConfigurationError, EngineRestart, OutageError
from streamserve.records import RawRecord
from streamserve.state.ended import Ended

_LETTING_GO_SECONDS = 5.0


class _Event:
    """One event, or several that are taken together, from when its instance is given it to when it is done."""

    __slots__ = ("failed",)

    def __init__(self) -> None:
        self.failed = False


class _Task:
    """One instance: its queue of rows, the row it works on, and how it is woken.

    ``event`` is new with each event, and ``None`` between them; tasks that the agent starts inherit it. Those that are
    left when the instance ``ended`` come to nothing: its event comes again, with tasks of its own.
    """

    __slots__ = ("agent", "asyncio_task", "ended", "event", "lots", "outputs", "queue", "row", "wakeup")

    def __init__(self, agent: str) -> None:
        self.agent = agent
        self.queue: deque[int] = deque()
        self.row: int | None = None
        self.event: _Event | None = None
        self.ended = False
        self.lots = Lots()
        self.outputs: list[Any] = []
        self.wakeup: asyncio.Future[None] | None = None
        self.asyncio_task: asyncio.Task[None] | None = None

    def begin(self, row: int) -> None:
        """Work on ``row``, and on those taken with it, from now on."""
        self.row, self.event = row, _Event()
        _event.set(self.event)

    @property
    def is_outlived(self) -> bool:
        """Return whether what runs is a task that was started for an event of this instance that is done."""
        return self.ended or (_event.get() is not self.event and asyncio.current_task() is not self.asyncio_task)


_current: ContextVar[_Task] = ContextVar("streamserve_instance")

_event: ContextVar[_Event | None] = ContextVar("streamserve_event", default=None)
"""The event for which a task was started, or its instance works."""


class IoDriver:
    """The driver of agents with ``io=True``.

    ``start``, ``record_of`` and ``scoped`` are as in ``HandDriver``. Answers of foreign awaits arrive in any order;
    outputs keep the input's order all the same.
    """

    def __init__(
        self,
        name: str,
        start: Callable[[], Any],
        *,
        yields: bool,
        ordering: Ordering,
        record_of: Callable[[RecordBatch, int], Any],
        loop: asyncio.AbstractEventLoop,
        instances: int = INSTANCES,
        scoped: bool = False,
    ) -> None:
        self._name = name
        self._start = start
        self._yields = yields
        self._ordering: Ordering = ordering
        self._record_of = record_of
        self._scoped = scoped
        self._events: Sequence[Any] = ()
        self._loop = loop
        self._tasks = [_Task(name) for _ in range(instances)]
        self._outcomes = Outcomes(0)
        self._batch: RecordBatch | None = None
        self._open = 0
        self._done: asyncio.Future[None] | None = None
        self._fatal: Exception | None = None
        self._waiting: dict[Target, list[tuple[int, Any, asyncio.Future[Any]]]] = {}
        self._flush_planned = False
        self._closing = False
        self._ended = Ended(self._refuse)
        self._asked: asyncio.Future[None] | None = None
        self._list_size = 0
        self._targets: set[Target] = set()

    def run(self, batch: RecordBatch) -> Outcomes:
        """Take every event of ``batch`` to its end."""
        self._outcomes, self._batch = Outcomes(len(batch)), batch
        self._events = EventScopes(batch, self._record_of) if self._scoped else batch.values
        if not len(batch):
            return self._outcomes
        InEventLoop.submit = self._submit
        try:
            self._loop.run_until_complete(self._process(batch))
        finally:
            InEventLoop.submit = None
        if self._fatal is not None:
            fatal, self._fatal = self._fatal, None
            raise fatal
        return self._outcomes

    async def _process(self, batch: RecordBatch) -> None:
        self._open = len(batch)
        self._done = self._loop.create_future()
        await self._begun()
        for row, place in enumerate(places(self._ordering, batch, range(len(batch)), self._list_size)):
            self._tasks[place % len(self._tasks)].queue.append(row)
        for task in self._tasks:
            if task.queue:
                self._wake(task)
        await self._done

    async def _begun(self) -> None:
        """Let one instance come to its first request, which tells whether the agent takes lists; forget old ones."""
        if self._asked is None:
            self._asked = self._loop.create_future()
            self._wake(self._tasks[0])
            await self._asked
        for task in self._tasks if self._list_size else ():
            task.lots.clear()

    def _wake(self, task: _Task) -> None:
        if task.asyncio_task is None or task.asyncio_task.done():
            task.asyncio_task = self._loop.create_task(self._live(task))
        elif task.wakeup is not None and not task.wakeup.done():
            task.wakeup.set_result(None)

    async def _live(self, task: _Task) -> None:
        """Run the agent's function again and again: it starts anew after each failure or return."""
        _current.set(task)
        while self._fatal is None:
            try:
                await self._consume(task)
            except asyncio.CancelledError as cancelled:
                if self._closing:
                    raise
                self._failed(task, cancelled)
                continue
            except Exception as raised:
                self._failed(task, raised)
                continue
            if task.row is None:
                self._stop(never_reads(self._name))
                return
            self._finish(task)

    async def _consume(self, task: _Task) -> None:
        current.set(None)
        running = self._start()
        if not self._yields:
            await running
            finish_event()
            return
        async for output in running:
            if task.row is None:
                raise outside_event(self._name)
            task.outputs.append(output)
        finish_event()

    async def _next_event(self, task: _Task, *, as_record: bool) -> Any:
        """Finish the instance's event and wait for its next."""
        batch = await self._refilled(task)
        row = task.queue.popleft()
        task.begin(row)
        return self._record_of(batch, row) if as_record else self._events[row]

    async def _next_list(self, task: _Task, wants: Take) -> list[Any]:
        """Finish the instance's events and wait for the next that it takes together."""
        self._list_size = wants.size
        batch = await self._refilled(task)
        rows = task.lots.next(task.queue, wants.size)
        task.begin(rows[-1])
        if len(rows) > 1:
            self._outcomes.lots[rows[-1]] = rows
        return [self._record_of(batch, row) if wants.whole else self._events[row] for row in rows]

    async def _refilled(self, task: _Task) -> RecordBatch:
        """Return the batch once the instance has a row of it."""
        self._finish(task)
        if self._asked is not None and not self._asked.done():
            self._asked.set_result(None)
        while not task.queue:
            task.wakeup = self._loop.create_future()
            await task.wakeup
        if self._batch is None:
            raise AssertionError("an event outside a batch")
        return self._batch

    def _finish(self, task: _Task) -> None:
        if task.row is None:
            return
        if task.outputs:
            self._outcomes.outputs[task.row] = task.outputs
            task.outputs = []
        self._close_row(task)

    def _failed(self, task: _Task, raised: BaseException) -> None:
        if isinstance(raised, (EngineRestart, OutageError, ConfigurationError)):
            self._stop(raised)
            return
        if task.row is None:
            self._stop(outside_event(self._name, raised))
            return
        task.outputs = []
        if task.event is not None:
            task.event.failed = True
        if len(task.lots.of(task.row)) > 1:
            self._take_again(task, task.row)
            return
        self._outcomes.fail(task.row, agent_error(self._name, raised))
        self._close_row(task)

    def _take_again(self, task: _Task, row: int) -> None:
        """Give the events that were taken together to the instance by halves."""
        rows = task.lots.of(row)
        self._end_scope()
        self._outcomes.forget(row)
        del self._outcomes.lots[row]
        task.lots.halve(task.queue)
        task.row = task.event = None
        for target in self._targets:
            target.forget(rows)
        self._withdraw(rows)

    def _withdraw(self, rows: Collection[int]) -> None:
        """Answer nothing that tasks still ask for ``rows``: they are asked for anew."""
        waiting, self._waiting = self._waiting, {}
        for target, asked in waiting.items():
            if left := [request for request in asked if request[0] not in rows]:
                self._waiting[target] = left
            for row, _, future in asked:
                if row in rows:
                    future.cancel()

    def _close_row(self, task: _Task) -> None:
        self._end_scope()
        if task.row is not None:
            self._open -= len(task.lots.of(task.row))
        task.row = task.event = None
        if self._open == 0 and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _end_scope(self) -> None:
        """Let nobody use tables for the instance's event any more."""
        if (scope := current.get()) is not None:
            scope.pending.changes = self._ended

    def _refuse(self, table: str) -> NoReturn:
        """End the app: a task that outlives its event asks for a table, and what it writes would be lost.

        Raises:
            CancelledError: it would be lost in any case.
        """
        if _is_in_vain():
            raise asyncio.CancelledError
        outlived = _outlived(self._name, f"uses table {table!r}")
        self._stop(outlived)
        raise outlived

    def _stop(self, fatal: Exception) -> None:
        self._fatal = fatal
        for waiting in (self._done, self._asked):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def _submit(self, effect: Any) -> Awaitable[Any]:
        """Turn an effect of the running task into a future.

        Raises:
            ConfigurationError: the event that the task was started for is done.
        """
        if isinstance(effect, Next):
            return self._next_event(_current.get(), as_record=effect.whole)
        if isinstance(effect, Take):
            return self._next_list(_current.get(), effect)
        if isinstance(effect, Gather):
            return _tuple_of(effect.parts)
        task = _current.get()
        if task.is_outlived:
            outlived = refusal_of(effect)
            self._stop(outlived)
            raise outlived
        future: asyncio.Future[Any] = self._loop.create_future()
        row = task.row
        if row is None:
            future.set_exception(outside_event(self._name))
        elif isinstance(effect, Send):
            self._outcomes.sends.setdefault(row, []).append(effect)
            future.set_result(None)
        else:
            target, payload = effect
            if self._list_size and self._batch is not None:
                self._targets.add(target)
                row = task.lots.meant(payload, row, self._batch.values)
            self._waiting.setdefault(target, []).append((row, payload, future))
            self._plan_flush()
        return future

    def _plan_flush(self) -> None:
        """Answer what waits once every task that can run now has run."""
        if not self._flush_planned:
            self._flush_planned = True
            self._loop.call_soon(self._loop.call_soon, self._flush)

    def _flush(self) -> None:
        self._flush_planned = False
        if not self._waiting:
            return
        target = min(self._waiting, key=lambda waiting: waiting.priority)
        asked = self._waiting.pop(target)
        if self._waiting:
            self._plan_flush()
        try:
            values, errors = target.resolve([item for _, item, _ in asked], [row for row, _, _ in asked], self._batch)
        except Exception as raised:
            self._stop(raised)
            return
        for index, (_, _, future) in enumerate(asked):
            if future.cancelled():
                continue  # the agent gave up waiting
            if index in errors:
                future.set_exception(errors[index])
            else:
                future.set_result(values[index])

    def running(self) -> list[RawRecord]:
        """Return the records of all instances that are not done: which of them waits in vain nobody knows."""
        rows = [task.row for task in self._tasks]
        return [] if self._batch is None else [self._batch.records[row] for row in rows if row is not None]

    def close(self) -> None:
        """Cancel all instances and give them a few seconds to let go."""
        self._closing = True
        for task in self._tasks:
            task.event, task.ended = None, True
        running = [task.asyncio_task for task in self._tasks if task.asyncio_task and not task.asyncio_task.done()]
        for task in running:
            task.cancel()
        if running:
            self._loop.run_until_complete(asyncio.wait(running, timeout=_LETTING_GO_SECONDS))


def runs_for_agent() -> bool:
    """Return whether what runs is an instance of an agent with ``io=True``, or a task that it started."""
    return _current.get(None) is not None


def refusal_of(effect: Effect) -> ConfigurationError:
    """Return why the running task of an agent may not perform ``effect``: its event is done.

    Raises:
        CancelledError: its event has failed, so that the task is one of ``asyncio.gather`` perhaps that nobody awaits
            any more, or its instance is over, since the engine starts anew.
    """
    task = _current.get()
    if _is_in_vain():
        raise asyncio.CancelledError
    does = f"sends to topic {effect.topic!r}" if isinstance(effect, Send) else "asks features or a model"
    return _outlived(task.agent, does)


def _is_in_vain() -> bool:
    """Return whether what the running task does comes to nothing, whenever it does it."""
    task, event = _current.get(), _event.get()
    return task.ended or (event is not None and event.failed)


def _outlived(agent: str, does: str) -> ConfigurationError:
    return ConfigurationError(
        f"agent {agent!r}: a task that was started for an event {does} after the event is done, when nothing"
        " commits it with the event any more: await it before asking for the next event (asyncio.TaskGroup)"
    )


async def _tuple_of(parts: Sequence[Awaitable[Any]]) -> tuple[Any, ...]:
    return tuple(await asyncio.gather(*parts))
