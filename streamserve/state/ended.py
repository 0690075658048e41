"""Stands for the changes of an event that is done: nothing would ever commit what is added to them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NoReturn

from typing_extensions import override

from streamserve.state.pending import TableChanges

__all__ = ["Ended"]


class Ended(dict[Any, TableChanges]):
    """Takes the place of ``Pending.changes``: ``refuse``, which raises, is told which table is still asked for.

    >>> from streamserve.state.definition import TableDefinition
    >>> from streamserve.state.pending import Pending
    >>> from streamserve.state.store import MemoryStore
    >>> from streamserve.state.table import TableState
    >>> table = TableState(TableDefinition("seen", str.encode, bytes.decode, default=str), MemoryStore())
    >>> def refuse(name: str) -> NoReturn:
    ...     raise RuntimeError(name)
    >>> table.get(Pending(0, Ended(refuse)), b"EWR")
    Traceback (most recent call last):
    ...
    RuntimeError: seen
    """

    def __init__(self, refuse: Callable[[str], NoReturn]) -> None:
        super().__init__()
        self._refuse = refuse

    @override
    def get(self, key: Any, default: Any = None, /) -> NoReturn:
        """Refuse: every use of a table begins with this."""
        self._refuse(key.definition.name)
