"""State that agents keep by key: tables they write, and windows that count for them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Any, Generic

from typing_extensions import TypeVar

from streamserve.dataflow.plan import TableNode, WindowNode
from streamserve.errors import ConfigurationError, MissingKey

TK = TypeVar("TK")
V = TypeVar("V")
A_co = TypeVar("A_co", covariant=True)


class Table(Generic[TK, V]):
    """Values ``V`` by key, local to the partition of the records that an agent reads; made by ``App.table``.

    An agent reads and writes the key of the record that it works on; another key raises ``WrongPartition``. What it
    writes becomes visible with the event's outputs, and not at all if the event fails. Values are not to be changed in
    place: write ``table.update(key, fn)`` or set a new one.

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
            EncodeError: the value is not of the table's type.
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
        """
        return self._access.update(key, fn)

    def items(self) -> Iterator[tuple[TK, V]]:
        """Iterate over keys and values of the record's partition, in byte order of keys."""
        return self._access.items()

    def set_timer(self, key: TK, at: datetime) -> None:
        """Let the table's timer run for ``key`` once the watermark reaches ``at``; an earlier one is replaced."""
        self._access.set_timer(key, at)

    def delete_timer(self, key: TK) -> None:
        """Forget the timer of ``key``, if there is one."""
        self._access.delete_timer(key)

    @property
    def _access(self) -> Any:
        return _running(self.node.binding.runtime, f"table {self.name!r}")

    def __repr__(self) -> str:
        return f"Table({self.name!r})"


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
        return _running(self.node.binding.runtime, f"window {self.name!r}").get(key)

    def __repr__(self) -> str:
        return f"WindowedTable({self.name!r})"


def _running(runtime: Any, what: str) -> Any:
    if runtime is None:
        raise ConfigurationError(f"{what} answers only inside a running app; try it with streamserve.testing.Harness")
    return runtime
