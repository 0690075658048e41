"""The app: names and registers what a topology is made of. It does no I/O; the plan is plain data."""

from __future__ import annotations

import inspect
import re
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import wraps
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, overload

from typing_extensions import TypeVar, Unpack

from streamserve.agents import Agent, Batch, Features, Model, Monitor, Source, Stream, Topic, names_of
from streamserve.dataflow.plan import (
    AgentKind,
    AgentNode,
    FeaturesNode,
    ModelNode,
    MonitorNode,
    OnError,
    Ordering,
    Plan,
    TimerNode,
    TopicNode,
)
from streamserve.dataflow.planner import make_plan
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError, Reject
from streamserve.features.base import FeatureRow
from streamserve.features.service import JoinOptions
from streamserve.records import Prediction, Record
from streamserve.settings import SettingsOverrides

if TYPE_CHECKING:
    from bytewax.dataflow import Stream as BytewaxStream
    from river import base

    Detector: TypeAlias = base.DriftDetector | base.BinaryDriftDetector

V = TypeVar("V")
K = TypeVar("K")
In = TypeVar("In")
Out = TypeVar("Out")
R = TypeVar("R")
P = TypeVar("P")

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")
_OWN_TOPICS = ("dead-letters", "drift", "performance", "alerts", "retrain", "audit", "control", "features")


class App:
    """A topology: topics, agents, features, models and monitors under one name.

    The name is the consumer group's, the prefix of the engine's own topics and of transactional ids: renaming an app
    starts it afresh. Settings given here yield to ``STREAMSERVE_*`` environment variables and those to the command
    line.

    >>> app = App("example")
    >>> clicks = app.topic("clicks", dict, key=lambda click: str(click["user"]))
    >>> [topic for topic in app.plan().topics]
    ['clicks']
    """

    def __init__(self, name: str, **settings: Unpack[SettingsOverrides]) -> None:
        self.name = _checked(name, "app")
        self.settings = settings
        self._topics: dict[str, TopicNode] = {}
        self._features: dict[str, FeaturesNode] = {}
        self._models: dict[str, ModelNode] = {}
        self._agents: dict[str, AgentNode] = {}
        self._timers: dict[str, TimerNode] = {}
        self._monitors: dict[str, MonitorNode] = {}
        self._lifespans: list[Callable[[], AsyncIterator[None]]] = []

    def plan(self) -> Plan:
        """Return everything declared so far, as plain data.

        Raises:
            PlanError: the declarations do not fit together.
        """
        return make_plan(
            self.name,
            topics=self._topics,
            features=self._features,
            models=self._models,
            agents=tuple(self._agents.values()),
            timers=tuple(self._timers.values()),
            monitors=tuple(self._monitors.values()),
            lifespans=tuple(self._lifespans),
        )

    # --- what it reads and writes -------------------------------------------------------------------------------

    @overload
    def topic(self, name: str, /, *, key: None = None) -> Topic[bytes, bytes]: ...
    @overload
    def topic(
        self,
        name: str,
        value: type[V],
        /,
        *,
        key: str,
        event_time: str | Callable[[V], datetime] | None = None,
        max_out_of_orderness: Duration = ...,
        on_error: OnError = ...,
    ) -> Topic[V, str]: ...
    @overload
    def topic(
        self,
        name: str,
        value: type[V],
        /,
        *,
        key: Callable[[V], K],
        event_time: str | Callable[[V], datetime] | None = None,
        max_out_of_orderness: Duration = ...,
        on_error: OnError = ...,
    ) -> Topic[V, K]: ...
    def topic(
        self,
        name: str,
        value: type[Any] | None = None,
        /,
        *,
        key: str | Callable[[Any], Any] | None = None,
        event_time: str | Callable[[Any], datetime] | None = None,
        max_out_of_orderness: Duration = "0s",
        on_error: OnError = "dead-letter",
    ) -> Topic[Any, Any]:
        """Declare a topic.

        ``value`` is a pydantic model, a ``msgspec.Struct`` or a plain JSON type; without it, values are bytes. ``key``
        names the field, or computes what, the records are keyed by. ``event_time`` names the field of a record's own
        time (a datetime, UTC where it has no zone); without it the Kafka timestamp is taken. Records may come up to
        ``max_out_of_orderness`` behind the newest before they count as late. ``on_error`` is for records that do not
        decode.
        """
        _checked(name, "topic")
        own = [f"{self.name}-{suffix}" for suffix in _OWN_TOPICS]
        if name in own or (name.startswith(f"{self.name}-") and name.endswith("-changelog")):
            raise PlanError(f"topic {name!r} is the engine's own: name yours differently")
        node = TopicNode(name, value, key, event_time, to_milliseconds(max_out_of_orderness), on_error)
        if self._topics.setdefault(name, node) != node:
            raise PlanError(f"topic {name!r} is declared twice with different types or settings")
        return Topic(node)

    # --- agents -------------------------------------------------------------------------------------------------

    @overload
    def agent(
        self,
        *sources: Source[In, Any],
        to: Topic[Out, Any],
        name: str | None = None,
        ordering: Ordering = "key",
        io: bool = False,
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
        on_error: OnError = ...,
    ) -> Callable[[Callable[[Stream[In, Any]], Awaitable[None]]], Agent[In, None]]: ...
    def agent(
        self,
        *sources: Source[Any, Any],
        to: Topic[Any, Any] | None = None,
        name: str | None = None,
        ordering: Ordering = "key",
        io: bool = False,
        on_error: OnError = "dead-letter",
    ) -> Callable[[Callable[[Stream[Any, Any]], Any]], Agent[Any, Any]]:
        """Make an async generator (with ``to``) or a coroutine (without) an agent that sees one event at a time.

        Many instances run side by side. ``ordering="key"`` keeps the events of one key in order, one at a time;
        ``"partition"`` the whole partition; ``"unordered"`` starts them freely. Outputs keep the input's order per
        partition in all three. ``io=True`` runs the instances as asyncio tasks. With several sources their records
        come in order of event time, as far as that is known. An event is done when the agent asks for the next; until
        then nothing that it wrote is visible. An exception makes the event one dead letter.
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
                on_error=on_error,
            )

        return decorate

    def batch_agent(
        self,
        *sources: Source[In, Any],
        to: Topic[Out, Any],
        name: str | None = None,
        max_size: int = 4096,
        on_error: OnError = "dead-letter",
    ) -> Callable[[Callable[[Batch[In, Any]], Sequence[Out | Reject | None]]], Agent[In, Out]]:
        """Make a function an agent that sees up to ``max_size`` events at a time.

        It returns one result per event, in order: a value, ``None`` to filter, or ``Reject(reason)``. A batch whose
        function raises is halved until only the event at fault is dead-lettered, so it must be free of side effects.
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
        to: Topic[Any, Any] | None,
        function: Callable[..., Any] | None,
        **options: Any,
    ) -> Agent[Any, Any]:
        _checked(name, "agent")
        if name in self._agents or name in self._timers:
            raise PlanError(f"agent {name!r} is declared twice: give one of them name=")
        target = to.name if to is not None else None
        node = AgentNode(name, kind, names_of(sources), target, function, **options)
        self._agents[name] = node
        return Agent(node)

    def timer(
        self, every: Duration, *, to: Topic[Out, Any], per: Literal["partition", "worker"] = "partition"
    ) -> Callable[[Callable[[], AsyncIterator[Out]]], Agent[None, Out]]:
        """Run an async generator at every whole multiple of ``every`` since the epoch, UTC.

        It runs once per owned partition, so once per partition in the whole group, or once per worker. A time missed
        while no worker ran is not made up for.
        """

        def decorate(function: Callable[[], AsyncIterator[Out]]) -> Agent[None, Out]:
            name = _checked(function.__name__, "timer")
            if not inspect.isasyncgenfunction(function):
                raise PlanError(f"timer {name!r} must be an async generator: 'async def' with a yield")
            if name in self._agents or name in self._timers:
                raise PlanError(f"timer {name!r} has the name of another agent or timer")
            if to_milliseconds(every) < 1:
                raise PlanError(f"timer {name!r}: every {every!r} is no time at all")
            self._timers[name] = TimerNode(name, to_milliseconds(every), to.name, per, function)
            return Agent(AgentNode(name, "agent", (), to.name, function))

        return decorate

    def lifespan(self, fn: Callable[[], AsyncIterator[None]]) -> Callable[[], AsyncIterator[None]]:
        """Run an async generator around the worker's life: to its ``yield`` before the first event, on at the end."""
        if not inspect.isasyncgenfunction(fn):
            raise PlanError(f"lifespan {fn.__name__!r} must be an async generator: 'async def' with one yield")
        self._lifespans.append(fn)
        return fn

    # --- features and models ------------------------------------------------------------------------------------

    @overload
    def features(
        self,
        service: str,
        *,
        event: type[In],
        row: type[R],
        entity_row: Mapping[str, str] = ...,
        max_age: Mapping[str, Duration | None] = ...,
        cached_for: Mapping[str, Duration] = ...,
        log: float = ...,
    ) -> Features[In, R]: ...
    @overload
    def features(
        self,
        service: str,
        *,
        event: type[In],
        entity_row: Mapping[str, str] = ...,
        max_age: Mapping[str, Duration | None] = ...,
        cached_for: Mapping[str, Duration] = ...,
        log: float = ...,
    ) -> Features[In, FeatureRow]: ...
    def features(
        self,
        service: str,
        *,
        event: type[Any],
        row: type[Any] | None = None,
        entity_row: Mapping[str, str] | None = None,
        max_age: Mapping[str, Duration | None] | None = None,
        cached_for: Mapping[str, Duration] | None = None,
        log: float = 0.0,
    ) -> Features[Any, Any]:
        """Declare a Feast feature service of the app's feature repository, asked with the fields of ``event``.

        ``entity_row`` maps a join key to the event's field where their names differ. ``row`` gives rows a type of the
        user's, built by keyword. ``max_age`` bounds the age of a view's rows against the event's time (default: the
        view's ``ttl``; ``None``: no bound). ``cached_for`` is how long a view's rows may be answered without asking the
        online store again, in processing time (default: a second): what others write is seen that much later. ``log``
        is the share of rows used (0 to 1) that are written to ``<app>-features``.
        """
        if not 0 <= log <= 1:
            raise PlanError(f"features {service!r}: log is a share between 0 and 1, not {log}")
        join = JoinOptions(
            max_age={view: None if age is None else _span(age) for view, age in (max_age or {}).items()},
            cache_max_ages={view: _span(age) for view, age in (cached_for or {}).items()},
        )
        node = FeaturesNode(service, event, row, dict(entity_row or {}), log, join)
        if service in self._features:
            raise PlanError(f"features {service!r} are declared twice")
        self._features[service] = node
        return Features(node)

    def model(
        self,
        name: str,
        *,
        output: type[P],
        inputs: Sequence[type | Features[Any, Any]] = (),
        version: str | None = None,
        alias: str = "champion",
    ) -> Model[P]:
        """Declare a model of the app's registry: by alias, or pinned to ``version``.

        ``inputs`` are the event types and feature services whose fields it is given, so that ``streamserve check`` can
        hold the model's signature against them. ``output`` is ``Binary``, ``Classification``, ``Regression`` or a
        dataclass.
        """
        given = tuple(item.node.service if isinstance(item, Features) else item for item in inputs)
        node = ModelNode(name, output, given, version, alias)
        if name in self._models:
            raise PlanError(f"model {name!r} is declared twice")
        self._models[name] = node
        return Model(node)

    def monitor(
        self,
        model: Model[Any],
        *,
        detectors: Sequence[Detector],
        window: Duration,
        slices: Sequence[str] = (),
        columns: Sequence[str] | None = None,
        detector_columns: Sequence[str] | None = None,
    ) -> Monitor:
        """Emit statistics and drift alarms of a model's inputs and predictions to ``<app>-drift``.

        Statistics are per tumbling event-time ``window``, also split by the values of each column in ``slices``.
        ``columns`` limits what is monitored (default: every input and every output that is a number, a flag or a
        category). ``detectors`` are River detectors, cloned for each of ``detector_columns`` (default: every column
        that they fit).
        """
        node = MonitorNode(
            model.node.name,
            tuple(detectors),
            to_milliseconds(window),
            tuple(slices),
            tuple(columns) if columns is not None else None,
            tuple(detector_columns) if detector_columns is not None else None,
        )
        if node.model in self._monitors:
            raise PlanError(f"model {node.model!r} has two monitors: put all detectors into one")
        self._monitors[node.model] = node
        return Monitor(node)


def _starting(function: Callable[[Stream[Any, Any]], Any]) -> Callable[[], Any]:
    """Return what starts one instance of an agent."""

    @wraps(function)
    def start() -> Any:
        return function(Stream())

    return start


def _batching(function: Callable[[Batch[Any, Any]], Any]) -> Callable[[Sequence[Any], Callable[[], Any]], Any]:
    """Return what hands values, and records if asked for, to a batch agent."""

    @wraps(function)
    def call(values: Sequence[Any], records: Callable[[], Sequence[Record[Any, Any]]]) -> Any:
        return function(Batch(values, records))

    return call


def _span(duration: Duration) -> timedelta:
    return timedelta(milliseconds=to_milliseconds(duration))


def _checked(name: str, what: str) -> str:
    if not _NAME.fullmatch(name):
        raise PlanError(f"{what} name {name!r}: use up to 100 letters, digits, '.', '_' and '-'")
    return name
