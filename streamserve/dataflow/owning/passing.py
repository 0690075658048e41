"""What a group's watermark brings about in its tables: values expire, and timers come due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, cast

from streamserve.dataflow.batch import DueTimers
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.state.table import TableState

__all__ = ["Passed", "Passing"]


class Passed(NamedTuple):
    """The groups whose tables have changed, and the timers that are due in them."""

    changed: list[Group]
    due: list[DueTimers]


class Passing:
    """Lets time pass in the tables of groups, after the batch that has moved their watermark.

    Within a batch nothing is deleted, but what has expired as an event's turn comes is not there for it. Timers that
    timers set, and what was too much for once, are looked for once more.
    """

    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._with_tables = {part.name for part in plan.parts if part.tables}
        self._reached: list[GroupKey] = []

    def note(self, key: GroupKey) -> None:
        """Remember that the watermark of a group may have moved."""
        if key[0] in self._with_tables:
            self._reached.append(key)

    def take(self, groups: Mapping[GroupKey, Group]) -> Passed:
        """Delete what has expired, and take out the timers that are due, in the groups that were noted."""
        passed = Passed([], [])
        if not self._reached:
            return passed
        reached, self._reached = self._reached, []
        for group in [groups[key] for key in dict.fromkeys(reached) if key in groups]:
            expired, due = self._pass(group) if group.watermark_ms is not None else (0, [])
            if expired or due:
                self._reached.append(group.key)
                passed.changed.append(group)
                passed.due.extend(due)
        return passed

    def _pass(self, group: Group) -> tuple[int, list[DueTimers]]:
        """Move the group's tables on; timers of a table without anything to run stay where they are.

        Timers see what lives at their own time, so nothing is deleted before all of them have run.
        """
        watermark_ms = group.watermark_ms
        tables = {name: cast("TableState[Any]", group.tables[name]) for name in group.part.tables}
        if watermark_ms is None:
            return 0, []
        due = [
            DueTimers(*group.key, name, keys)
            for name, table in tables.items()
            if self._plan.tables[name].timer("event") is not None and (keys := table.due(watermark_ms))
        ]
        return 0 if due else sum(table.advance(watermark_ms) for table in tables.values()), due
