"""Declares agents of every level."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from functools import wraps
from typing import TYPE_CHECKING, Any, overload

from typing_extensions import TypeVar

from streamserve.agents import Agent, Batch, Features, Model, ScopedStream, Source, Stream, Topic, names_of
from streamserve.app.declared import Declares, checked
from streamserve.dataflow.planning.nodes import AgentKind, AgentNode, OnError, Ordering
from streamserve.errors import PlanError, Reject
from streamserve.records import Prediction, Record
from streamserve.tables import Table

if TYPE_CHECKING:
    from bytewax.dataflow import Stream as BytewaxStream

In = TypeVar("In")
Out = TypeVar("Out")
P = TypeVar("P")


class DeclaresAgents(Declares):
    """``app.agent``, ``app.batch_agent``, ``app.score`` and ``app.dataflow``."""

    @overload
    def agent(
        self,
        *sources: Source[In, Any],
        to: Topic[Out, Any] | Sequence[Topic[Out, Any]],
        name: str | None = None,
        ordering: Ordering = "key",
        io: bool = False,
        tables: Sequence[Table[Any, Any]] = ...,
        on_error: OnError = ...,
    ) -> Callable[[Callable[[Stream[In, Any]], AsyncIterator[Out]]], Agent[In, Out]]: ...
    @overload
    def agent(
        self,
        *sources: Source[In, Any],
        to: None = None,
        name: str | None = None,
        ordering: Ordering = "key",
        io: bool = False,
        tables: Sequence[Table[Any, Any]] = ...,
        on_error: OnError = ...,
    ) -> Callable[[Callable[[Stream[In, Any]], Awaitable[None]]], Agent[In, None]]: ...
    def agent(
        self,
        *sources: Source[Any, Any],
        to: Topic[Any, Any] | Sequence[Topic[Any, Any]] | None = None,
        name: str | None = None,
        ordering: Ordering = "key",
        io: bool = False,
        tables: Sequence[Table[Any, Any]] = (),
        on_error: OnError = "dead-letter",
    ) -> Callable[[Callable[[Stream[Any, Any]], Any]], Agent[Any, Any]]:
        """Make an async generator (with ``to``) or a coroutine (without) an agent that sees one event at a time.

        Many instances run side by side. ``ordering="key"`` keeps the events of one key in order, one at a time;
        ``"partition"`` the whole partition; ``"unordered"`` starts them freely. Outputs keep the input's order per
        partition in all three. Each output goes to every topic of ``to``, or to none. ``io=True`` runs the instances as
        asyncio tasks. With several sources their records come in order of event time, as far as that is known. An event
        is done when the agent asks for the next; until then nothing that it wrote is visible. An exception makes the
        event one dead letter. Tables that the function mentions are found by themselves; ``tables`` names those that it
        reaches in other ways.
        """

        def decorate(function: Callable[[Stream[Any, Any]], Any]) -> Agent[Any, Any]:
            yields = inspect.isasyncgenfunction(function)
            if not (yields or inspect.iscoroutinefunction(function)):
                raise PlanError(f"agent {function.__name__!r} must be 'async def'; batch_agent takes plain functions")
            if yields != (to is not None):
                raise PlanError(
                    f"agent {function.__name__!r}: "
                    + ("yields, but has no to= topic" if to is None else "has a to= topic, but does not yield")
                )
            return self._add(
                "agent",
                name or function.__name__,
                sources,
                to,
                _starting(function),
                ordering=ordering,
                io=io,
                tables=tuple(table.name for table in tables),
                on_error=on_error,
            )

        return decorate

    def batch_agent(
        self,
        *sources: Source[In, Any],
        to: Topic[Out, Any] | Sequence[Topic[Out, Any]],
        name: str | None = None,
        max_size: int = 4096,
        tables: Sequence[Table[Any, Any]] = (),
        on_error: OnError = "dead-letter",
    ) -> Callable[[Callable[[Batch[In, Any]], Sequence[Out | Reject | None]]], Agent[In, Out]]:
        """Make a function an agent that sees up to ``max_size`` events at a time.

        It returns one result per event, in order: a value, which goes to every topic of ``to``, ``None`` to filter, or
        ``Reject(reason)``. A batch whose function raises is halved until only the event at fault is dead-lettered, so
        it must be free of side effects; what it wrote to tables is undone. ``tables`` is as in ``agent``.
        """
        if max_size < 1:
            raise PlanError(f"batch_agent: max_size is the number of events at a time, at least 1, not {max_size}")

        def decorate(function: Callable[[Batch[In, Any]], Sequence[Out | Reject | None]]) -> Agent[In, Out]:
            if inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function):
                raise PlanError(f"batch agent {function.__name__!r} must be a plain function, without 'async'")
            return self._add(
                "batch",
                name or function.__name__,
                sources,
                to,
                _batching(function),
                max_size=max_size,
                tables=tuple(table.name for table in tables),
                on_error=on_error,
            )

        return decorate

    def score(
        self,
        source: Source[In, Any],
        *,
        features: Features[In, Any] | None = None,
        model: Model[P],
        to: Topic[Out, Any],
        output: Callable[[In, Prediction[P]], Out | None] | None = None,
        name: str | None = None,
        on_error: OnError = "dead-letter",
    ) -> Agent[In, Out]:
        """Score every event of ``source``: the fastest path, without an object per event.

        Without ``output`` each field of the result is filled by name: from the prediction (``probability``, ``label``
        and so on), from its lineage (``model``, ``version``, ``role``, ``event_time``, ``source_topic``,
        ``source_partition``, ``source_offset``), or from the event. ``output`` builds the result instead; ``None``
        filters.
        """
        return self._add(
            "score",
            name or f"score_{model.node.name}",
            (source,),
            to,
            output,
            features=features.node.service if features is not None else None,
            model=model.node.name,
            on_error=on_error,
        )

    def dataflow(
        self, *sources: Source[In, Any], to: Topic[Out, Any], name: str | None = None
    ) -> Callable[[Callable[[BytewaxStream[Record[In, Any]]], BytewaxStream[Out]]], Agent[In, Out]]:
        """Make a function over Bytewax streams an agent: it gets a stream of records and returns one of outputs.

        Any stateless operator may be used. Stateful ones are refused when the flow is built: their state would be
        outside the transaction. An exception in an operator restarts the worker, which then finds the record at fault
        by taking one at a time.
        """

        def decorate(
            function: Callable[[BytewaxStream[Record[In, Any]]], BytewaxStream[Out]],
        ) -> Agent[In, Out]:
            return self._add("dataflow", name or function.__name__, sources, to, function)

        return decorate

    def _add(
        self,
        kind: AgentKind,
        name: str,
        sources: Sequence[Source[Any, Any]],
        to: Topic[Any, Any] | Sequence[Topic[Any, Any]] | None,
        function: Callable[..., Any] | None,
        **options: Any,
    ) -> Agent[Any, Any]:
        checked(name, "agent")
        if name in self._declared.agents or name in self._declared.timers:
            raise PlanError(f"agent {name!r} is declared twice: give one of them name=")
        target, also = _targets(name, to)
        node = AgentNode(name, kind, names_of(sources), target, function, also_to=also, **options)
        self._declared.agents[name] = node
        return Agent(node)


def _targets(agent: str, to: Topic[Any, Any] | Sequence[Topic[Any, Any]] | None) -> tuple[str | None, tuple[str, ...]]:
    """Return the name of the first topic of ``to``, if any, and those of the others.

    Raises:
        PlanError: there is none in the list, or one twice.
    """
    if to is None:
        return None, ()
    names = [to.name] if isinstance(to, Topic) else [topic.name for topic in to]
    if not names or len(set(names)) < len(names):
        raise PlanError(f"agent {agent!r}: to= is a topic, or a list of topics that differ")
    return names[0], tuple(names[1:])


def _starting(function: Callable[[Stream[Any, Any]], Any]) -> Callable[..., Any]:
    """Return what starts one instance of an agent; ``scoped`` ones use tables or windows."""

    @wraps(function)
    def start(*, scoped: bool = False) -> Any:
        return function(ScopedStream() if scoped else Stream())

    return start


def _batching(function: Callable[[Batch[Any, Any]], Any]) -> Callable[[Sequence[Any], Callable[[], Any]], Any]:
    """Return what hands values, and records if asked for, to a batch agent."""

    @wraps(function)
    def call(values: Sequence[Any], records: Callable[[], Sequence[Record[Any, Any]]]) -> Any:
        return function(Batch(values, records))

    return call
