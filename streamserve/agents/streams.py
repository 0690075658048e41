"""The events of one instance of an agent, one after the other or in lists, and of a batch agent."""

from __future__ import annotations

import types
from collections.abc import AsyncIterator, Awaitable, Callable, Generator, Sequence
from typing import Any, Generic, cast, overload

from typing_extensions import TypeVar

from streamserve.dataflow.driving.effects import NEXT_EVENT, NEXT_RECORD, InEventLoop, Next, Take, perform
from streamserve.dataflow.driving.scope import BatchScope, EventScope, current, finish_event
from streamserve.errors import ConfigurationError
from streamserve.records import Record

V_co = TypeVar("V_co", covariant=True)
K_co = TypeVar("K_co", covariant=True, default=str)


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
