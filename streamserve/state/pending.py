"""The changes of one event, in all tables, held back until the event is done."""

from __future__ import annotations

from typing import Any, Protocol, TypeAlias

import msgspec

__all__ = ["DELETED", "Entry", "Pending", "TableChanges"]

Entry: TypeAlias = tuple[bytes | None, Any]
"""A changelog record that was written, and the value that it was made of; ``None`` for both where one was deleted."""

DELETED: Entry = (None, None)


class TableChanges(msgspec.Struct, eq=False):
    """What one event did to one table; keys are changelog keys.

    ``entries`` holds what the event has set or deleted; ``read`` what else it was handed; ``before`` the encoded form
    of those values of both that could be changed in place; ``timers`` the times of timers, ``None`` for deleted ones.
    """

    entries: dict[bytes, Entry] = {}
    read: dict[bytes, Any] = {}
    before: dict[bytes, bytes] = {}
    timers: dict[bytes, int | None] = {}


class _Table(Protocol):
    """What ``Pending`` asks of a table."""

    def verify(self, changes: TableChanges, /) -> None: ...

    def apply(self, changes: TableChanges, /) -> None: ...


class Pending(msgspec.Struct, eq=False):
    """One event's view of all tables of its partition group: its own changes over what earlier events left.

    ``now_ms`` is the event's time, ``reached_ms`` how far the watermark had come as its turn came. ``commit`` makes the
    changes those of the group; dropping the object discards them.
    Events that are in progress side by side do not see each other's changes, so no two may share a key.
    A batch of records that stands or falls together may use one object, setting both times before each record.
    """

    now_ms: int
    changes: dict[_Table, TableChanges] = {}
    reached_ms: int = -(1 << 62)

    @property
    def as_of_ms(self) -> int:
        """Return the time as of which tables answer."""
        return max(self.now_ms, self.reached_ms)

    def commit(self) -> None:
        """Apply all changes to all tables, or none.

        Raises:
            AgentError: a value that a table handed out was changed in place.
        """
        for table, changes in self.changes.items():
            if changes.before:
                table.verify(changes)
        for table, changes in self.changes.items():
            table.apply(changes)
        self.changes = {}
