"""What an agent may use: its stream, topics to write to, features and models to ask."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Generic, cast, overload

from typing_extensions import TypeVar

from streamserve.dataflow.driving.effects import NEXT_EVENT, NEXT_RECORD, InEventLoop, Next, Send, Take, ask, perform
from streamserve.dataflow.driving.scope import BatchScope, EventScope, current, finish_event
from streamserve.dataflow.planning.declared import Declared
from streamserve.dataflow.planning.joining import key_problem
from streamserve.dataflow.planning.plan import (
    AgentNode,
    FeaturesNode,
    JoinNode,
    LabelsNode,
    ModelNode,
    MonitorNode,
    PushNode,
    RegroupNode,
    TopicNode,
)
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import ConfigurationError, EncodeError, PlanError
from streamserve.features.base import FeatureRow
from streamserve.records import Prediction, Record, Scalar, to_epoch_ms
from streamserve.state.joins import JoinKind

V = TypeVar("V")
K = TypeVar("K", default=str)
L = TypeVar("L")
V_co = TypeVar("V_co", covariant=True)
K_co = TypeVar("K_co", covariant=True, default=str)
In = TypeVar("In")
Out = TypeVar("Out")
E_contra = TypeVar("E_contra", contravariant=True)
R = TypeVar("R", default=FeatureRow)
P = TypeVar("P")
A = TypeVar("A")


class Source(Generic[V_co, K_co]):
    """What an agent reads: a topic, a topic regrouped by another key, or the pairs of two of them."""

    def __init__(self, node: TopicNode, declared: Declared) -> None:
        self.name = node.name
        self.node = node
        self._declared = declared

    def group_by(self, key: str, *, name: str | None = None) -> Source[V_co, str]:
        """Return the same events under the field ``key``: each key's events, from all partitions, with one worker.

        They go through an internal topic, in the transaction of the records that they come from, and are read again in
        order of event time; ``name`` (default: ``<topic>-by-<key>``) is its identity.
        """
        return self._regrouped(key, name or f"{self.name}-by-{key}")

    def key_by(self, key: Callable[[V_co], A], *, name: str) -> Source[V_co, A]:
        """Return the same events under what ``key`` makes of them, as ``group_by`` does; no key may go anywhere."""
        return self._regrouped(key, name)

    def join(
        self, other: Source[A, K_co], *, within: Duration, name: str | None = None
    ) -> Source[tuple[V_co, A], K_co]:
        """Return the pairs of events of this and ``other`` that have one key and are at most ``within`` apart.

        Both times are event times, whichever comes first. Each pair comes once, as soon as both events are in, and
        with the later to be processed: its record is the pair's (``stream.records()``), its dead letter the pair's too.
        Results do not depend on the order of arrival within the topics' ``max_out_of_orderness``; an event that comes
        later than that still meets what is kept. An event is kept, in memory and in ``<app>-<name>-changelog``, until
        the watermark has passed its time by ``within``; ``name`` (default: ``<this>-join-<other>``) is the identity of
        what is kept. An event without a key has no partner.

        Both topics need equal numbers of partitions and the same key: regroup first where it is another
        (``a.group_by("x").join(b, ...)``). Pairs are for agents and batch agents, which read no source beside them.

        Raises:
            PlanError: a source is joined with itself or is a join, keys are of different kinds, or another join has
                the name.
        """
        return self._joined("inner", other, within, name)

    def left_join(
        self, other: Source[A, K_co], *, within: Duration, name: str | None = None
    ) -> Source[tuple[V_co, A | None], K_co]:
        """Return what ``join`` does, and each event of this source that stayed alone, with ``None``.

        It comes once the watermark has passed it by ``within``; an idle ``other`` does not hold it back.
        """
        return self._joined("left", other, within, name)

    def outer_join(
        self, other: Source[A, K_co], *, within: Duration, name: str | None = None
    ) -> Source[tuple[V_co | None, A | None], K_co]:
        """Return what ``left_join`` does, and each event of ``other`` that stayed alone, behind ``None``."""
        return self._joined("outer", other, within, name)

    def _joined(self, kind: JoinKind, other: Source[Any, Any], within: Duration, name: str | None) -> Source[Any, Any]:
        joins, chosen = self._declared.joins, name or f"{self._short_name}-join-{other._short_name}"
        if self.name == other.name:
            raise PlanError(f"source {self.name!r} is joined with itself: a table can hold what came before")
        for source in (self, other):
            if source.name in joins:
                raise PlanError(f"join {source.name!r} is joined again: let an agent write its pairs to a topic first")
        if problem := key_problem(self.node, other.node):
            raise PlanError(problem)
        node = JoinNode(chosen, self.name, other.name, to_milliseconds(within), kind)
        if joins.setdefault(chosen, node) != node:
            raise PlanError(f"join {chosen!r} is declared twice with different settings: give one of them name=")
        return Source(TopicNode(chosen, tuple), self._declared)

    @property
    def _short_name(self) -> str:
        """Return the name that the user knows: a regrouping's own, not its topic's."""
        names = {node.topic: node.name for node in self._declared.regroupings.values()}
        return names.get(self.name, self.name)

    def _regrouped(self, key: str | Callable[[Any], Any], name: str) -> Source[V_co, Any]:
        if self.name in self._declared.joins:
            raise PlanError(f"join {self.name!r} cannot be regrouped: regroup its topics, or write its pairs to one")
        if self.node.value_type is None:
            raise PlanError(f"topic {self.name!r} has no value type, so it has no fields to regroup by")
        node = RegroupNode(name, self.name, f"{self._declared.app}-{name}-regrouped", key)
        topic = replace(self.node, name=node.topic, key=key, late="process", upstream=self.name, max_future_ms=None)
        if self._declared.regroupings.setdefault(name, node) != node:
            raise PlanError(f"regrouping {name!r} is declared twice with different keys: give one of them name=")
        self._declared.topics[node.topic] = topic
        return Source(topic, self._declared)


class Topic(Source[V, K]):
    """A Kafka topic of values ``V`` under keys ``K``; made by ``App.topic``."""

    async def send(
        self,
        value: V,
        *,
        key: K | None = None,
        timestamp: datetime | None = None,
        headers: Mapping[str, bytes] | None = None,
    ) -> None:
        """Write ``value`` in the same transaction as everything else that the event comes to.

        It is held back until the event is done; if the agent raises first, it is never written. Without ``key`` the
        topic's own key is taken from the value. ``timestamp`` becomes the record's (UTC where it has no zone); without
        it the time of writing does.

        Raises:
            EncodeError: a header's value is not bytes. A value that does not fit the topic fails the event when it is
                done.
        """
        sent: tuple[tuple[str, Any], ...] = tuple((headers or {}).items())
        if not all(isinstance(content, bytes) for _, content in sent):
            raise EncodeError(f"topic {self.name!r}: headers are text to bytes: encode their values")
        await perform(Send(self.name, value, key, to_epoch_ms(timestamp) if timestamp is not None else 0, sent))

    def __repr__(self) -> str:
        return f"Topic({self.name!r})"


class Stream(Generic[V_co, K_co]):
    """The events of an agent, one after the other: ``async for event in stream``."""

    def __aiter__(self) -> AsyncIterator[V_co]:
        """Iterate over the events' values."""
        return cast("AsyncIterator[V_co]", _VALUES)

    def records(self) -> AsyncIterator[Record[V_co, K_co]]:
        """Iterate over whole records: value, key, timestamp, headers, partition and offset."""
        return cast("AsyncIterator[Record[V_co, K_co]]", _RECORDS)

    def take(self, size: int) -> AsyncIterator[Sequence[V_co]]:
        """Iterate over lists of up to ``size`` events: those that are there together, of one partition, in order.

        A list never waits for more events, and so never holds back a commit: under load lists are full, an event that
        comes alone is a list of one. To gather more across commits, keep them in a table. With ``ordering="unordered"``
        lists run across partitions, and several are worked on at once.

        The events of a list are done when the agent asks for the next list. What it yields takes the place, and has the
        coordinates, of the last of them. If the agent raises, the list is taken again by halves until only the event at
        fault is left, so that each event is one outcome of its own: nothing written for a list that failed is seen, but
        side effects outside Kafka are repeated. An output that does not fit its topic is a dead letter of every event
        in its list.

        Raises:
            ConfigurationError: ``size`` is not at least 1.
        """
        return cast("AsyncIterator[Sequence[V_co]]", _Iterator(_take(size, whole=False)))

    def take_records(self, size: int) -> AsyncIterator[Sequence[Record[V_co, K_co]]]:
        """Iterate over lists as ``take`` does, of whole records."""
        return cast("AsyncIterator[Sequence[Record[V_co, K_co]]]", _Iterator(_take(size, whole=True)))

    def filter(self, keep: Callable[[V_co], object]) -> Stream[V_co, K_co]:
        """Return the stream without the events for which ``keep`` is false; they are done, with no output.

        What ``keep`` raises is the event's failure, as what the agent raises is. Of a list (``take``) it is asked about
        all events before the agent sees the first.
        """
        return _FilteredStream(self, keep)


class _FilteredStream(Stream[V_co, K_co]):
    """A stream without the events that nobody wants to see; lists get shorter, and empty ones are left out."""

    def __init__(self, stream: Stream[V_co, K_co], keep: Callable[[V_co], object]) -> None:
        self._stream = stream
        self._keep = keep

    def __aiter__(self) -> AsyncIterator[V_co]:
        """Iterate over the events' values."""
        return self._values()

    async def _values(self) -> AsyncIterator[V_co]:
        async for value in self._stream:
            if self._keep(value):
                yield value

    async def records(self) -> AsyncIterator[Record[V_co, K_co]]:
        """Iterate over whole records."""
        async for record in self._stream.records():
            if self._keep(record.value):
                yield record

    async def take(self, size: int) -> AsyncIterator[Sequence[V_co]]:
        """Iterate over lists of events."""
        async for values in self._stream.take(size):
            if kept := [value for value in values if self._keep(value)]:
                yield kept

    async def take_records(self, size: int) -> AsyncIterator[Sequence[Record[V_co, K_co]]]:
        """Iterate over lists of whole records."""
        async for records in self._stream.take_records(size):
            if kept := [record for record in records if self._keep(record.value)]:
                yield kept


def _take(size: int, *, whole: bool) -> Take:
    if size < 1:
        raise ConfigurationError(f"stream.take: {size} is no size of a list, it takes at least 1 event")
    return Take(size, whole)


class _Iterator:
    """Asks the driver for the next event, or list of events."""

    __slots__ = ("_request",)

    def __init__(self, request: Next | Take) -> None:
        self._request = request

    def __aiter__(self) -> _Iterator:
        return self

    def __anext__(self) -> Awaitable[Any]:
        return perform(self._request)


_VALUES = _Iterator(NEXT_EVENT)
_RECORDS = _Iterator(NEXT_RECORD)


class ScopedStream(Stream[V_co, K_co]):
    """The stream of one instance of an agent that uses tables or windows, which answer to the event it works on.

    What the event has written to tables is made final when the agent asks for the next, or ends.
    """

    def __aiter__(self) -> AsyncIterator[V_co]:
        """Iterate over the events' values."""
        return cast("AsyncIterator[V_co]", _ScopedIterator(whole=False))

    def records(self) -> AsyncIterator[Record[V_co, K_co]]:
        """Iterate over whole records."""
        return cast("AsyncIterator[Record[V_co, K_co]]", _ScopedIterator(whole=True))

    async def take(self, size: int) -> AsyncIterator[Sequence[V_co]]:
        """Iterate over lists of events."""
        while True:
            yield [scope.value for scope in await self._next_list(size)]

    async def take_records(self, size: int) -> AsyncIterator[Sequence[Record[V_co, K_co]]]:
        """Iterate over lists of whole records."""
        while True:
            yield [scope.record for scope in await self._next_list(size)]

    async def _next_list(self, size: int) -> Sequence[EventScope]:
        """Return the events of the next list, whose keys are those that tables answer to."""
        finish_event()
        scopes: Sequence[EventScope] = await perform(_take(size, whole=False))
        current.set(BatchScope(scopes[0].batch, [scope.row for scope in scopes]))
        return scopes


class _ScopedIterator:
    """Makes final what an event has written, and asks the driver for the scope of the next."""

    __slots__ = ("_whole",)

    def __init__(self, *, whole: bool) -> None:
        self._whole = whole

    def __aiter__(self) -> _ScopedIterator:
        return self

    @types.coroutine
    def __anext__(self) -> Generator[Any, Any, Any]:
        scope = current.get()
        if scope is not None and scope.pending.changes:
            scope.pending.commit()
        submit = InEventLoop.submit
        event: EventScope = (yield from submit(NEXT_EVENT).__await__()) if submit is not None else (yield NEXT_EVENT)
        current.set(event)
        return event.record if self._whole else event.batch.values[event.row]


class Batch(Sequence[V_co], Generic[V_co, K_co]):
    """The events of a batch agent; ``records`` has the same rows as whole records."""

    def __init__(self, values: Sequence[V_co], records: Callable[[], Sequence[Record[V_co, K_co]]]) -> None:
        self._values = values
        self._records = records

    @overload
    def __getitem__(self, index: int) -> V_co: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[V_co]: ...
    def __getitem__(self, index: int | slice) -> V_co | Sequence[V_co]:
        return self._values[index]

    def __len__(self) -> int:
        return len(self._values)

    @property
    def records(self) -> Sequence[Record[V_co, K_co]]:
        """Return the rows as whole records; built when asked for."""
        return self._records()


class Agent(Generic[In, Out]):
    """An agent of an app, as data; calling it does nothing, the app runs it."""

    def __init__(self, node: AgentNode) -> None:
        self.name = node.name
        self.node = node

    def __repr__(self) -> str:
        return f"Agent({self.name!r})"


class Features(Generic[E_contra, R]):
    """A Feast feature service, asked with an event's fields; made by ``App.features``."""

    def __init__(self, node: FeaturesNode) -> None:
        self.node = node

    def get(self, event: E_contra, /) -> Awaitable[R]:
        """Return the features of ``event``; look-ups of many events are answered as one read.

        A missing value is ``None`` and the row's ``status`` says why. Ages count against the event's own time.

        Raises (at the await):
            FeatureRowError: the event cannot be asked for; unless caught, it becomes a dead letter.
        """
        return ask(self.node.binding.runtime, event)

    def get_many(self, events: Sequence[E_contra], /) -> Sequence[R]:
        """Return the features of each event at once, for batch agents.

        Raises:
            FeatureRowError: one of the events cannot be asked for; the engine halves the batch to find it.
        """
        return _running(self.node.binding.runtime, f"features {self.node.service!r}").many(events)

    async def push(self, source: str, value: object) -> None:
        """Push one row to push source ``source``: later look-ups see it, the online store before the commit."""
        join = _running(self.node.binding.runtime, f"features {self.node.service!r}")
        await ask(join.pusher, (source, value))

    def push_from(self, source: Source[Any, Any], *, push_source: str) -> None:
        """Push every event of ``source`` where it falls in event time among the events that ask."""
        self.node.pushes.append(PushNode(source.name, push_source))


class Model(Generic[P]):
    """A model by alias or version; made by ``App.model``."""

    def __init__(self, node: ModelNode) -> None:
        self.node = node

    def predict(self, *rows: object, **values: Scalar) -> Awaitable[Prediction[P]]:
        """Score one row; predictions of many events run as one batch.

        Each input of the model is taken from the one of ``rows`` (events, feature rows, mappings) that has its name, or
        from ``values``.

        Raises (at the await):
            ModelRowError: the model refuses the row; unless caught, it becomes a dead letter.
        """
        return ask(self.node.binding.runtime, (rows, values))

    def predict_many(self, *rows: Sequence[object], **values: Sequence[Scalar]) -> Sequence[Prediction[P]]:
        """Score many rows at once, for batch agents; each argument is one sequence of what ``predict`` takes.

        Raises:
            ModelRowError: the model refuses one of the rows; the engine halves the batch to find it.
        """
        return _running(self.node.binding.runtime, f"model {self.node.name!r}").many(rows, values)


class Monitor:
    """Statistics and drift detection of a model, as data; made by ``App.monitor``."""

    def __init__(self, node: MonitorNode) -> None:
        self.node = node


class Labels(Generic[P, L]):
    """Predictions and what came true, as data; made by ``App.labels``."""

    def __init__(self, node: LabelsNode) -> None:
        self.name = node.name
        self.node = node

    def __repr__(self) -> str:
        return f"Labels({self.name!r})"


def _running(runtime: Any, what: str) -> Any:
    if runtime is None:
        raise ConfigurationError(f"{what} answers only inside a running app")
    return runtime


def names_of(sources: Iterable[Source[Any, Any]]) -> tuple[str, ...]:
    """Return the names of ``sources``, which must be at least one and differ.

    Raises:
        PlanError: there is none, or one twice.
    """
    names = tuple(source.name for source in sources)
    if not names:
        raise PlanError("an agent reads at least one topic: @app.agent(topic, ...)")
    if len(set(names)) < len(names):
        raise PlanError(f"an agent reads each topic once, not {', '.join(names)}")
    return names
