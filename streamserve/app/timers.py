"""Declares what runs without records: timers and lifespans."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Callable
from typing import Any, Literal

from typing_extensions import TypeVar

from streamserve.agents import Agent, Topic
from streamserve.app.declared import Declares, checked
from streamserve.dataflow.plan import AgentNode, TimerNode
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError

Out = TypeVar("Out")


class DeclaresTimers(Declares):
    """``app.timer`` and ``app.lifespan``."""

    def timer(
        self, every: Duration, *, to: Topic[Out, Any], per: Literal["partition", "worker"] = "partition"
    ) -> Callable[[Callable[[], AsyncIterator[Out]]], Agent[None, Out]]:
        """Run an async generator at every whole multiple of ``every`` since the epoch, UTC.

        It runs once per owned partition, so once per partition in the whole group, or once per worker. A time missed
        while no worker ran is not made up for.
        """

        def decorate(function: Callable[[], AsyncIterator[Out]]) -> Agent[None, Out]:
            name = checked(function.__name__, "timer")
            if not inspect.isasyncgenfunction(function):
                raise PlanError(f"timer {name!r} must be an async generator: 'async def' with a yield")
            if name in self._declared.agents or name in self._declared.timers:
                raise PlanError(f"timer {name!r} has the name of another agent or timer")
            if to_milliseconds(every) < 1:
                raise PlanError(f"timer {name!r}: every {every!r} is no time at all")
            self._declared.timers[name] = TimerNode(name, to_milliseconds(every), to.name, per, function)
            return Agent(AgentNode(name, "agent", (), to.name, function))

        return decorate

    def lifespan(self, fn: Callable[[], AsyncIterator[None]]) -> Callable[[], AsyncIterator[None]]:
        """Run an async generator around the worker's life: to its ``yield`` before the first event, on at the end."""
        if not inspect.isasyncgenfunction(fn):
            raise PlanError(f"lifespan {fn.__name__!r} must be an async generator: 'async def' with one yield")
        self._declared.lifespans.append(fn)
        return fn
