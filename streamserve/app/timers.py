"""Declares what runs without records: timers and lifespans."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, overload

from typing_extensions import TypeVar

from streamserve.agents import Agent, Topic
from streamserve.app.declared import Declares, checked
from streamserve.dataflow.planning.crontab import Crontab
from streamserve.dataflow.planning.nodes import AgentNode, Per, TimerNode
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError

Out = TypeVar("Out")


class DeclaresTimers(Declares):
    """``app.timer``, ``app.crontab`` and ``app.lifespan``."""

    @overload
    def timer(
        self, every: Duration, *, to: Topic[Out, Any], per: Per = ..., name: str | None = ...
    ) -> Callable[[Callable[[], AsyncIterator[Out]]], Agent[None, Out]]: ...
    @overload
    def timer(
        self, every: Duration, *, to: None = None, per: Per = ..., name: str | None = ...
    ) -> Callable[[Callable[[], Awaitable[None]]], Agent[None, None]]: ...
    def timer(
        self, every: Duration, *, to: Topic[Any, Any] | None = None, per: Per = "partition", name: str | None = None
    ) -> Callable[[Callable[[], Any]], Agent[None, Any]]:
        """Run an async generator (with ``to``) or a coroutine (without) at every whole multiple of ``every``.

        Multiples count from the epoch, UTC. It runs once per owned partition (``per="partition"``), so once per
        partition in the whole group; once in each worker that has any (``"worker"``); or once in the whole app
        (``"app"``), with the owner of partition 0. What it yields and sends goes into the transaction that is open.

        It survives restarts in that they shift nothing: the next run is at the next multiple. A run that was missed
        while no worker ran, or whose transaction was aborted, is not made up for; one that comes just when partitions
        change hands may be missed or come twice, and so does one that comes again since the clock was set back by more
        than a minute. What must not be missed is a timer of a table: ``Table.on_timer``.
        """

        def decorate(function: Callable[[], Any]) -> Agent[None, Any]:
            if to_milliseconds(every) < 1:
                raise PlanError(f"timer {function.__name__!r}: every {every!r} is no time at all")
            return self._add_timer(name or function.__name__, to_milliseconds(every), None, to, per, function)

        return decorate

    @overload
    def crontab(
        self, expression: str, *, timezone: str = ..., to: Topic[Out, Any], per: Per = ..., name: str | None = ...
    ) -> Callable[[Callable[[], AsyncIterator[Out]]], Agent[None, Out]]: ...
    @overload
    def crontab(
        self, expression: str, *, timezone: str = ..., to: None = None, per: Per = ..., name: str | None = ...
    ) -> Callable[[Callable[[], Awaitable[None]]], Agent[None, None]]: ...
    def crontab(
        self,
        expression: str,
        *,
        timezone: str = "UTC",
        to: Topic[Any, Any] | None = None,
        per: Per = "partition",
        name: str | None = None,
    ) -> Callable[[Callable[[], Any]], Agent[None, Any]]:
        """Run what ``timer`` runs at times of day: minute, hour, day of month, month and day of week, as in cron.

        ``timezone`` is an IANA name. A time of day that the clocks skip in spring comes right after the gap; one that
        they repeat in autumn comes once; steps such as ``"*/5 * * * *"`` go on in real time.

        Raises:
            PlanError: the expression or the time zone is none.
        """
        times = Crontab(expression, timezone)

        def decorate(function: Callable[[], Any]) -> Agent[None, Any]:
            return self._add_timer(name or function.__name__, 0, times, to, per, function)

        return decorate

    def _add_timer(
        self,
        name: str,
        every_ms: int,
        times: Crontab | None,
        to: Topic[Any, Any] | None,
        per: Per,
        function: Callable[[], Any],
    ) -> Agent[None, Any]:
        checked(name, "timer")
        if to is not None and not inspect.isasyncgenfunction(function):
            raise PlanError(f"timer {name!r} must be an async generator: 'async def' with a yield")
        if to is None and not inspect.iscoroutinefunction(function):
            raise PlanError(f"timer {name!r} has no to= topic: it must be 'async def' without a yield")
        if name in self._declared.agents or name in self._declared.timers:
            raise PlanError(f"timer {name!r} has the name of another agent or timer")
        target = to.name if to is not None else None
        self._declared.timers[name] = TimerNode(name, every_ms, target, per, function, times)
        return Agent(AgentNode(name, "agent", (), target, function))

    def lifespan(self, fn: Callable[[], AsyncIterator[None]]) -> Callable[[], AsyncIterator[None]]:
        """Run an async generator around the worker's life: to its ``yield`` before the first event, on at the end."""
        if not inspect.isasyncgenfunction(fn):
            raise PlanError(f"lifespan {fn.__name__!r} must be an async generator: 'async def' with one yield")
        self._declared.lifespans.append(fn)
        return fn
