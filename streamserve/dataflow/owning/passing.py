"""What a group's watermark brings about in its tables: values expire, and timers come due."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

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

    Within a batch nothing expires but for an event's own time: what an event sees does not depend on the batch that it
    came in. Timers that timers set, and those that were too many for once, are looked for once more.
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
            if due:
                self._reached.append(group.key)
            if expired or due:
                passed.changed.append(group)
                passed.due.extend(due)
        return passed

    def _pass(self, group: Group) -> tuple[int, list[DueTimers]]:
        """Move the group's tables on; timers of a table without anything to run stay where they are."""
        expired, due = 0, list[DueTimers]()
        for name in group.part.tables:
            table = group.tables[name]
            if isinstance(table, TableState) and group.watermark_ms is not None:
                expired += table.advance(group.watermark_ms)
                keys = table.due(group.watermark_ms) if self._plan.tables[name].timer("event") is not None else []
                if keys:
                    due.append(DueTimers(group.part.name, group.partition, name, keys))
        return expired, due
