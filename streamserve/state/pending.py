"""The changes of one event, in all tables, held back until the event is done."""

from __future__ import annotations

from typing import Any, Protocol

__all__ = ["Pending", "TableChanges"]


class TableChanges:
    """What one event did to one table; keys are changelog keys.

    ``records`` holds values to write, ``None`` for deleted ones; ``values`` what the event was handed or has set;
    ``before`` the encoded form of those that could be changed in place; ``timers`` the user's key and time, ``None``
    for deleted ones.
    """

    __slots__ = ("before", "records", "timers", "values")

    def __init__(self) -> None:
        self.records: dict[bytes, bytes | None] = {}
        self.values: dict[bytes, Any] = {}
        self.before: dict[bytes, bytes] = {}
        self.timers: dict[bytes, int | None] = {}


class _Table(Protocol):
    """What ``Pending`` asks of a table."""

    def verify(self, changes: TableChanges, /) -> None: ...

    def apply(self, changes: TableChanges, /) -> None: ...


class Pending:
    """One event's view of all tables of its partition group: its own changes over what earlier events left.

    ``now_ms`` is the event's time. ``commit`` makes the changes those of the group; dropping the object discards them.
    Events that are in progress side by side do not see each other's changes, so no two may share a key.
    A batch of records that stands or falls together may use one object, setting ``now_ms`` before each record.
    """

    __slots__ = ("changes", "now_ms")

    def __init__(self, now_ms: int) -> None:
        self.now_ms = now_ms
        self.changes: dict[_Table, TableChanges] = {}

    def commit(self) -> None:
        """Apply all changes to all tables, or none.

        Raises:
            AgentError: a value that a table handed out was changed in place.
        """
        for table, changes in self.changes.items():
            table.verify(changes)
        for table, changes in self.changes.items():
            table.apply(changes)
