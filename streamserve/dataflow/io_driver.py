"""Drives agents declared with ``io=True`` as real asyncio tasks, so that clients, ``gather`` and ``timeout`` work.

The event loop runs only while a batch is processed and lives as long as the driver. Feature look-ups and predictions
become futures; they are answered in batches whenever the loop has nothing else to run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any, NoReturn

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driver import INSTANCES, Outcomes, agent_error, never_reads, outside_event, places
from streamserve.dataflow.effects import Gather, InEventLoop, Next, Send, Take, Target
from streamserve.dataflow.instances import Lots
from streamserve.dataflow.plan import Ordering
from streamserve.dataflow.scope import EventScopes, current, finish_event
from streamserve.errors import ConfigurationError, EngineRestart, OutageError
from streamserve.state.ended import Ended

_LETTING_GO_SECONDS = 5.0


class _Task:
    """One instance: its queue of rows, the row it works on, and how it is woken."""

    __slots__ = ("asyncio_task", "lots", "outputs", "queue", "row", "wakeup")

    def __init__(self) -> None:
        self.queue: deque[int] = deque()
        self.row: int | None = None
        self.lots = Lots()
        self.outputs: list[Any] = []
        self.wakeup: asyncio.Future[None] | None = None
        self.asyncio_task: asyncio.Task[None] | None = None


_current: ContextVar[_Task] = ContextVar("streamserve_instance")


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
        self._tasks = [_Task() for _ in range(instances)]
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
        for row, place in enumerate(places(self._ordering, batch, self._list_size)):
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
        row = task.row = task.queue.popleft()
        return self._record_of(batch, row) if as_record else self._events[row]

    async def _next_list(self, task: _Task, wants: Take) -> list[Any]:
        """Finish the instance's events and wait for the next that it takes together."""
        self._list_size = wants.size
        batch = await self._refilled(task)
        rows = task.lots.next(task.queue, wants.size)
        task.row = rows[-1]
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
        task.row = None
        for target in self._targets:
            target.forget(rows)

    def _close_row(self, task: _Task) -> None:
        self._end_scope()
        if task.row is not None:
            self._open -= len(task.lots.of(task.row))
        task.row = None
        if self._open == 0 and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _end_scope(self) -> None:
        """Let nobody use tables for the instance's event any more."""
        if (scope := current.get()) is not None:
            scope.pending.changes = self._ended

    def _refuse(self, table: str) -> NoReturn:
        """End the app: a task that outlives its event asks for a table, and what it writes would be lost."""
        outlived = ConfigurationError(
            f"agent {self._name!r}: a task that was started for an event uses table {table!r} after the event is done,"
            " when nothing commits its changes any more: await it before asking for the next event (asyncio.TaskGroup)"
        )
        self._stop(outlived)
        raise outlived

    def _stop(self, fatal: Exception) -> None:
        self._fatal = fatal
        for waiting in (self._done, self._asked):
            if waiting is not None and not waiting.done():
                waiting.set_result(None)

    def _submit(self, effect: Any) -> Awaitable[Any]:
        """Turn an effect of the running task into a future."""
        if isinstance(effect, Next):
            return self._next_event(_current.get(), as_record=effect.whole)
        if isinstance(effect, Take):
            return self._next_list(_current.get(), effect)
        if isinstance(effect, Gather):
            return _tuple_of(effect.parts)
        future: asyncio.Future[Any] = self._loop.create_future()
        row = _current.get().row
        if row is None:
            future.set_exception(outside_event(self._name))
        elif isinstance(effect, Send):
            self._outcomes.sends.setdefault(row, []).append(effect)
            future.set_result(None)
        else:
            target, payload = effect
            if self._list_size and self._batch is not None:
                self._targets.add(target)
                row = _current.get().lots.meant(payload, row, self._batch.values)
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

    def close(self) -> None:
        """Cancel all instances and give them a few seconds to let go."""
        self._closing = True
        running = [task.asyncio_task for task in self._tasks if task.asyncio_task and not task.asyncio_task.done()]
        for task in running:
            task.cancel()
        if running:
            self._loop.run_until_complete(asyncio.wait(running, timeout=_LETTING_GO_SECONDS))


async def _tuple_of(parts: Sequence[Awaitable[Any]]) -> tuple[Any, ...]:
    return tuple(await asyncio.gather(*parts))
