"""Drives agents declared with ``io=True`` as real asyncio tasks, so that clients, ``gather`` and ``timeout`` work.

The event loop runs only while a batch is processed and lives as long as the driver. Feature look-ups and predictions
become futures; they are answered in batches whenever the loop has nothing else to run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextvars import ContextVar
from typing import Any

from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driver import INSTANCES, Outcomes, agent_error, never_reads, outside_event, places
from streamserve.dataflow.effects import Gather, InEventLoop, Next, Send, Target
from streamserve.dataflow.plan import Ordering
from streamserve.errors import ConfigurationError, EngineRestart, OutageError

_LETTING_GO_SECONDS = 5.0


class _Task:
    """One instance: its queue of rows, the row it works on, and how it is woken."""

    __slots__ = ("asyncio_task", "outputs", "queue", "row", "wakeup")

    def __init__(self) -> None:
        self.queue: deque[int] = deque()
        self.row: int | None = None
        self.outputs: list[Any] = []
        self.wakeup: asyncio.Future[None] | None = None
        self.asyncio_task: asyncio.Task[None] | None = None


_current: ContextVar[_Task] = ContextVar("streamserve_instance")


class IoDriver:
    """The driver of agents with ``io=True``.

    ``start`` and ``record_of`` are as in ``HandDriver``. Answers of foreign awaits arrive in any order; outputs keep
    the input's order all the same.
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
    ) -> None:
        self._name = name
        self._start = start
        self._yields = yields
        self._ordering: Ordering = ordering
        self._record_of = record_of
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

    def run(self, batch: RecordBatch) -> Outcomes:
        """Take every event of ``batch`` to its end."""
        self._outcomes, self._batch = Outcomes(len(batch)), batch
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
        for row, place in enumerate(places(self._ordering, batch)):
            self._tasks[place % len(self._tasks)].queue.append(row)
        for task in self._tasks:
            if task.queue:
                self._wake(task)
        await self._done

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
        running = self._start()
        if not self._yields:
            await running
            return
        async for output in running:
            if task.row is None:
                raise outside_event(self._name)
            task.outputs.append(output)

    async def _next_event(self, task: _Task, *, as_record: bool) -> Any:
        """Finish the instance's event and wait for its next."""
        self._finish(task)
        while not task.queue:
            task.wakeup = self._loop.create_future()
            await task.wakeup
        task.row = task.queue.popleft()
        if self._batch is None:
            raise AssertionError("an event outside a batch")
        return self._record_of(self._batch, task.row) if as_record else self._batch.values[task.row]

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
        self._outcomes.fail(task.row, agent_error(self._name, raised))
        task.outputs = []
        self._close_row(task)

    def _close_row(self, task: _Task) -> None:
        task.row = None
        self._open -= 1
        if self._open == 0 and self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _stop(self, fatal: Exception) -> None:
        self._fatal = fatal
        if self._done is not None and not self._done.done():
            self._done.set_result(None)

    def _submit(self, effect: Any) -> Awaitable[Any]:
        """Turn an effect of the running task into a future."""
        if isinstance(effect, Next):
            return self._next_event(_current.get(), as_record=effect.whole)
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
