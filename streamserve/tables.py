"""State that agents keep by key: tables they write, and windows that count for them."""

from __future__ import annotations

import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any, Generic, overload

from typing_extensions import TypeVar

from streamserve.dataflow.planning.nodes import GlobalTableNode, KeyTimerNode, OnError, TableNode, WindowNode
from streamserve.durations import Duration
from streamserve.errors import ConfigurationError, MissingKey, PlanError

if TYPE_CHECKING:
    from streamserve.agents import Topic
    from streamserve.state.timers import TimerClock

TK = TypeVar("TK")
V = TypeVar("V")
Out = TypeVar("Out")
F = TypeVar("F", bound=Callable[..., Any])
A_co = TypeVar("A_co", covariant=True)


class Table(Generic[TK, V]):
    """Values ``V`` by key, local to the partition of the records that an agent reads; made by ``App.table``.

    An agent reads and writes the key of the record that it works on; another key raises ``WrongPartition``. What it
    writes becomes visible with the event's outputs, and not at all if the event fails. Values are not to be changed in
    place: write ``table.update(key, fn)`` or set a new one. Later events read what a value's JSON says: of a time in a
    zone of its own, for example, the offset.

    Raises (from every operation):
        WrongPartition: the key is not that of the record.
        ConfigurationError: no agent works on an event just now, or a stored value does not fit the type any more.
    """

    def __init__(self, node: TableNode) -> None:
        self.name = node.name
        self.node = node

    def __getitem__(self, key: TK) -> V:
        """Return the value of ``key``, or the table's default, which is not stored until it is set.

        Raises:
            MissingKey: there is neither.
        """
        return self._access.get(key)

    def get(self, key: TK) -> V | None:
        """Return the value of ``key`` or the default; ``None`` where there is neither."""
        try:
            return self._access.get(key)
        except MissingKey:
            return None

    def __setitem__(self, key: TK, value: V) -> None:
        """Let ``key`` have ``value``.

        Raises:
            EncodeError: the value is not of the table's type, or what is written could not be read back as one.
            OversizeError: it is longer than the table's changelog takes, before compression.
        """
        self._access.set(key, value)

    def __delitem__(self, key: TK) -> None:
        """Delete the value of ``key``, if there is one."""
        self._access.delete(key)

    def __contains__(self, key: TK) -> bool:
        """Return whether ``key`` has a value of its own."""
        return self._access.contains(key)

    def update(self, key: TK, fn: Callable[[V], V]) -> V:
        """Set and return what ``fn`` makes of the value of ``key``; nothing else comes between.

        Raises:
            MissingKey: the key has no value and the table no default.
            EncodeError: ``fn`` returned what is not of the table's type.
            OversizeError: it returned what is longer than the table's changelog takes, before compression.
        """
        return self._access.update(key, fn)

    def items(self) -> Iterator[tuple[TK, V]]:
        """Iterate over keys and values of the record's partition, in byte order of keys.

        With ``ordering="key"`` events of other keys are under way at the same time, some of them later ones: what they
        have finished is seen. ``ordering="partition"`` shows exactly what earlier events left.
        """
        return self._access.items()

    @overload
    def on_timer(
        self, *, to: None = None, clock: TimerClock = ..., on_error: OnError = ...
    ) -> Callable[[Callable[[TK], Awaitable[None]]], Callable[[TK], Awaitable[None]]]: ...
    @overload
    def on_timer(
        self, *, to: Topic[Out, Any], clock: TimerClock = ..., on_error: OnError = ...
    ) -> Callable[[Callable[[TK], AsyncIterator[Out]]], Callable[[TK], AsyncIterator[Out]]]: ...
    def on_timer(
        self,
        *,
        to: Topic[Any, Any] | None = None,
        clock: TimerClock = "event",
        on_error: OnError = "dead-letter",
    ) -> Callable[[F], F]:
        """Run the decorated function for each key whose timer is due: an async generator with ``to``, else a coroutine.

        With ``clock="event"`` it is given the key once the watermark of the key's partition has reached the time that
        ``set_timer`` named: after the record that moved it there, and before the next record of the key, whether
        records came one by one or in a backlog. Other keys' records that were read together may be processed first,
        which shows in what ``items`` gives and in the order of a topic that agents and timers share, but not within a
        key. While no record moves the watermark, no such timer is due. What comes of it: events of one key go through
        one batch after the other, so that a table with such timers costs more where few keys have most of the events.
        With ``clock="processing"`` the time is that of the clock of the worker that
        owns the partition: the key comes at that time or soon after, between two batches of records, also while there
        are none; one that was due while no worker ran comes once, after the restart. Clocks of different workers may
        differ. A table may have a function for each clock.

        Keys are taken in the order of their times. The table is at hand for that key, as of the event-time timer's own
        time, or of the watermark where the clock is the worker's; so are others that are read together with it. The
        function may send to topics and set the key's next timers; it cannot ask features, models or windows. The end
        of the timer and all that it writes are part of one transaction with each other, exactly once, through
        restarts and rebalances.

        If the function raises, or what it makes fits no topic, that is the outcome for this key: its timer is over,
        tables are what they would be without it, nothing is sent, and ``on_error`` decides: a dead letter without a
        source, which has the table's key and the headers ``table``, ``table-partition``, ``timer-clock`` and
        ``timer-time``; a count (``"skip"``); or the end of the worker (``"stop"``).

        Raises:
            PlanError: the table has a timer of this clock already, or the function is not what ``to`` asks for.
        """

        def decorate(function: F) -> F:
            declared = KeyTimerNode(self.name, to.name if to is not None else None, function, clock, on_error)
            if self.node.timer(clock) is not None:
                raise PlanError(
                    f"table {self.name!r} has a timer of {clock} time already: one function decides for a key"
                )
            if to is not None and not inspect.isasyncgenfunction(function):
                raise PlanError(f"the timer of table {self.name!r} has to=: make it 'async def' with a yield")
            if to is None and not inspect.iscoroutinefunction(function):
                raise PlanError(f"the timer of table {self.name!r}: make it 'async def' without yield, or name to=")
            self.node.timers.append(declared)
            return function

        return decorate

    def set_timer(self, key: TK, at: datetime | Duration, *, clock: TimerClock = "event") -> None:
        """Let what ``on_timer`` decorates run for ``key`` at ``at`` by ``clock``; one timer a key and clock.

        A duration counts from the event's time, in a timer from the timer's own; with ``clock="processing"`` from the
        worker's clock, and anew where the event is processed again after a crash. An earlier timer of the same clock is
        replaced. One of the past is due at once, after the events that are processed together with this one. Timers
        survive restarts, and neither deleting the key nor its expiry takes them away.

        Raises:
            ConfigurationError: nothing is decorated with ``on_timer`` for this clock, or a timer sets the next one of
                its clock to a time that is not later than its own.
        """
        self._access.set_timer(key, at, clock)

    def delete_timer(self, key: TK, *, clock: TimerClock = "event") -> None:
        """Forget the timer of ``key`` by ``clock``, if there is one."""
        self._access.delete_timer(key, clock)

    @property
    def _access(self) -> Any:
        return self.node.binding.runtime or _running(None, "table", self.name)

    def __repr__(self) -> str:
        return f"Table({self.name!r})"


class GlobalTable(Mapping[TK, A_co]):
    """The last value of each key of a whole topic, held by every worker; made by ``App.global_table``.

    Values are not to be changed.
    """

    def __init__(self, node: GlobalTableNode) -> None:
        self.name = node.topic
        self.node = node

    def __getitem__(self, key: TK) -> A_co:
        """Return the value of ``key``.

        Raises:
            MissingKey: there is none.
            ConfigurationError: no app runs.
        """
        return self._rows.get(key)

    def __iter__(self) -> Iterator[TK]:
        """Iterate over the keys, as they are now."""
        return (key for key, _ in self._rows.items())

    def __len__(self) -> int:
        """Return the number of keys."""
        return len(self._rows)

    @property
    def _rows(self) -> Any:
        return _running(self.node.binding.runtime, "global table", self.name)

    def __repr__(self) -> str:
        return f"GlobalTable({self.name!r})"


class WindowedTable(Generic[TK, A_co]):
    """An aggregate by key over a window of event time; made by ``App.aggregate``, which also counts the events."""

    def __init__(self, node: WindowNode) -> None:
        self.name = node.name
        self.node = node

    def __getitem__(self, key: TK) -> A_co:
        """Return the aggregate of ``key`` as of the event that the agent works on, itself included where it counts.

        Raises:
            WrongPartition: the key is not that of the record.
            ConfigurationError: no agent works on an event just now.
        """
        return _running(self.node.binding.runtime, "window", self.name).get(key)

    def __repr__(self) -> str:
        return f"WindowedTable({self.name!r})"


def _running(runtime: Any, kind: str, name: str) -> Any:
    if runtime is None:
        raise ConfigurationError(
            f"{kind} {name!r} answers only inside a running app; try it with streamserve.testing.Harness"
        )
    return runtime
