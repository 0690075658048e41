"""Timers of tables that go by the worker's clock: which are due, and when the next one is."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, cast

from streamserve.clock import Clock
from streamserve.dataflow.batch import DueTimers
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.state.table import TableState

__all__ = ["Alarms"]


class Alarms:
    """Takes out of the tables of owned groups the processing-time timers that are due.

    Asking costs a look at the clock while nothing is due, and nothing where no table has such timers: groups tell
    through ``note`` that their timers may have changed, and only those are looked at.
    """

    def __init__(self, plan: Plan, clock: Clock) -> None:
        self._clock = clock
        timed = {name for name, node in plan.tables.items() if node.timer("processing") is not None}
        self._tables = {
            part.name: names for part in plan.parts if (names := [name for name in part.tables if name in timed])
        }
        self._noted: set[GroupKey] = set()
        self._next_ms = math.inf
        self._gave = False

    def note(self, key: GroupKey) -> None:
        """Remember that timers of a group may have been set, or that the group is new here."""
        if key[0] in self._tables:
            self._noted.add(key)

    def take(self, groups: Mapping[GroupKey, Group]) -> list[DueTimers]:
        """Return the timers that are due in ``groups``; never twice in a row, so that records have their turn."""
        if self._gave or not self._is_due(groups):
            self._gave = False
            return []
        now_ms = self._clock.now_ms()
        due = [
            DueTimers(*group.key, name, keys, "processing", group.time_ms)
            for group in groups.values()
            for name in self._tables.get(group.part.name, ())
            if (keys := _table(group, name).due(now_ms, "processing"))
        ]
        self._next_ms = math.inf
        self._noted.update(key for key in groups if key[0] in self._tables)
        self._gave = bool(due)
        return due

    def seconds_to_next(self, groups: Mapping[GroupKey, Group]) -> float:
        """Return how long nothing will be due in ``groups``; infinity where no timer is set."""
        self._look(groups)
        return math.inf if self._next_ms == math.inf else max(0.0, (self._next_ms - self._clock.now_ms()) / 1000)

    def _is_due(self, groups: Mapping[GroupKey, Group]) -> bool:
        self._look(groups)
        return self._next_ms != math.inf and self._next_ms <= self._clock.now_ms()

    def _look(self, groups: Mapping[GroupKey, Group]) -> None:
        """Learn when the first timer of the groups that were noted is due.

        A timer that was taken back or moved may have been earlier: then one look at all groups finds nothing.
        """
        if not self._noted:
            return
        for key in self._noted & groups.keys():
            for name in self._tables[key[0]]:
                at_ms = _table(groups[key], name).next_timer("processing")
                if at_ms is not None:
                    self._next_ms = min(at_ms, self._next_ms)
        self._noted.clear()


def _table(group: Group, name: str) -> TableState[Any]:
    return cast("TableState[Any]", group.tables[name])
