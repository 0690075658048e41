"""Answers what agents ask their tables and windows, from the state of the partition group they work on."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, NoReturn

from streamserve.clock import Clock
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.scope import TimerScope, current
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.nodes import TableNode, WindowNode
from streamserve.dataflow.planning.plan import GroupKey
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import AgentError, ConfigurationError
from streamserve.records import to_epoch_ms
from streamserve.state.pending import Pending
from streamserve.state.table import TableState
from streamserve.state.timers import TimerClock

Groups = Callable[[], Mapping[GroupKey, Group]]

ADD_A_HANDLER = "decorate a function with @table.on_timer()"


def handler_for(clock: TimerClock) -> str:
    """Return what to do where timers of ``clock`` are set and nothing runs at them."""
    return ADD_A_HANDLER if clock == "event" else ADD_A_HANDLER.replace("()", f"(clock={clock!r})")


class TableAccess:
    """What a ``Table`` of a running app asks."""

    def __init__(self, node: TableNode, groups: Groups, clock: Clock) -> None:
        self.node = node
        self._name = node.name
        self._groups = groups
        self._clock = clock

    def get(self, key: Any) -> Any:
        """Return the value of ``key`` or the default."""
        state, pending, name = self._at(key)
        return state.get(pending, name)

    def set(self, key: Any, value: Any) -> None:
        """Let ``key`` have ``value`` once the event is done."""
        state, pending, name = self._at(key)
        state.set(pending, name, value)

    def update(self, key: Any, fn: Callable[[Any], Any]) -> Any:
        """Set and return what ``fn`` makes of the value."""
        state, pending, name = self._at(key)
        return state.update(pending, name, fn)

    def delete(self, key: Any) -> bool:
        """Delete the value; return whether there was one."""
        state, pending, name = self._at(key)
        return state.delete(pending, name)

    def contains(self, key: Any) -> bool:
        """Return whether there is a value."""
        state, pending, name = self._at(key)
        return state.contains(pending, name)

    def set_timer(self, key: Any, at: datetime | Duration, clock: TimerClock) -> None:
        """Set the key's timer; one that a timer of the same clock sets is later than itself, or it would never end."""
        state, pending, name = self._at(key)
        if self.node.timer(clock) is None:
            raise ConfigurationError(
                f"table {self.node.name!r}: nothing runs at its timers of {clock} time: {handler_for(clock)}"
            )
        scope = current.get()
        own_ms = scope.at_ms if isinstance(scope, TimerScope) and scope.clock == clock else None
        if isinstance(at, datetime):
            at_ms = to_epoch_ms(at)
        else:
            now_ms = pending.now_ms if clock == "event" else max(self._clock.now_ms(), own_ms or 0)
            at_ms = now_ms + to_milliseconds(at)
        if own_ms is not None and at_ms <= own_ms:
            raise AgentError(
                f"table {self.node.name!r}: its timer sets the key's next one to a time that is not later than its own:"
                " it would run for ever"
            )
        state.set_timer(pending, name, at_ms, clock)

    def delete_timer(self, key: Any, clock: TimerClock) -> None:
        """Forget the key's timer."""
        state, pending, name = self._at(key)
        state.delete_timer(pending, name, clock)

    def items(self) -> Iterator[tuple[Any, Any]]:
        """Iterate over keys and values of the partitions that are worked on."""
        scope = current.get()
        if scope is None:
            raise _nowhere("table", self.node.name)
        for partition in scope.partitions:
            state: Any = self._groups()[scope.part, partition].tables.get(self._name)
            for name, value in (state or self._foreign()).items(scope.pending):
                yield key_from_bytes(self.node.key_type, name), value

    def _at(self, key: Any) -> tuple[TableState[Any], Pending, bytes]:
        scope = current.get()
        if scope is None:
            raise _nowhere("table", self.node.name)
        name = key.encode() if key.__class__ is str else key_to_bytes(key)
        state: Any = self._groups()[scope.locate(name)].tables.get(self._name)
        return state or self._foreign(), scope.pending, name

    def _foreign(self) -> NoReturn:
        raise ConfigurationError(
            f"table {self.node.name!r} is not known to belong to this agent: name it in the decorator, tables=[...]"
        )


class WindowAccess:
    """What a ``WindowedTable`` of a running app asks: the value as of the event's own place."""

    def __init__(self, node: WindowNode) -> None:
        self.node = node

    def get(self, key: Any) -> Any:
        """Return the aggregate of ``key`` up to the event, itself included."""
        scope = current.get()
        if scope is None:
            raise _nowhere("window", self.node.name)
        columns = scope.windows
        if self.node.name not in columns:
            raise ConfigurationError(
                f"window {self.node.name!r} is not known to belong to this agent: its function has to mention it by"
                " name, not reach it through a container or a call"
            )
        return columns[self.node.name][scope.row_of(key_to_bytes(key))]


def _nowhere(kind: str, name: str) -> ConfigurationError:
    return ConfigurationError(
        f"{kind} {name!r} answers only while an agent works on an event: timers and lifespans have no key to ask with"
    )


def key_to_bytes(key: Any) -> bytes:
    """Return a table's key as record keys are written: text as UTF-8, an integer as its digits, bytes as they are.

    >>> key_to_bytes("EWR"), key_to_bytes(7), key_to_bytes(b"raw")
    (b'EWR', b'7', b'raw')
    """
    if isinstance(key, str):
        return key.encode()
    if isinstance(key, bytes):
        return key
    if type(key) is int:
        return b"%d" % key
    raise ConfigurationError(f"a table's key is text, an integer or bytes, not {type(key).__name__}")


def key_from_bytes(key_type: type, key: bytes) -> Any:
    """Return a record key as a table's key type has it.

    >>> key_from_bytes(str, b"EWR"), key_from_bytes(int, b"7")
    ('EWR', 7)
    """
    if key_type is bytes:
        return key
    return int(key) if key_type is int else key.decode()


def rows_of(batch: RecordBatch, topics: Sequence[str]) -> list[bool]:
    """Return, for each row, whether it is of one of ``topics``."""
    if isinstance(batch.topics, str):
        return [batch.topics in topics] * len(batch)
    return [topic in topics for topic in batch.topics]
