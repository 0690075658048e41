"""What happens to partition groups between two owners, one bounded step at a time, outside rebalance callbacks.

    assigned ──▶ parked? ──▶ positions ──▶ state ──────▶ tables ──────▶ reading
                    │        (fence dead   (one record   (changelogs,
                    │         owners)       a group)      to their ends)
                    └─ yes, and nobody has committed for it since ───▶ reading

Each group is read as soon as it is ready; the others go on being taken over between the engine's turns. Nobody commits
anything for them meanwhile: their partitions are paused, and a commit covers the groups that are read. A rebalance on
the way starts it anew, but goes on with what was loaded by then.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from streamserve.dataflow.owning.groups import Group, GroupState
from streamserve.dataflow.owning.loading import SLICE_SECONDS, Loading
from streamserve.dataflow.owning.resuming import Resuming
from streamserve.dataflow.owning.stores import let_go
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.kafka.calls import Calls
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.whole import READ_SECONDS
from streamserve.observer import Observer
from streamserve.settings import Settings
from streamserve.state.base import ChangelogState

__all__ = ["Handover"]

_NAMED_GROUPS = 10


class Handover:
    """Takes over the groups given to ``begin``: ``step`` until it is not ``busy`` any more.

    ``new_states`` makes the states of a group, from their snapshots where there are any; ``new_tables`` its tables and
    windows, empty.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        calls: Calls,
        consumer: GroupConsumer,
        new_states: Callable[[Group, Mapping[str, bytes]], dict[str, GroupState]],
        new_tables: Callable[[Group], dict[str, ChangelogState]],
        observer: Observer,
    ) -> None:
        self._consumer = consumer
        self._observer = observer
        self._began = 0.0
        self._resuming = Resuming(plan, settings, calls, consumer, new_states)
        self._loading = Loading(plan, settings, calls, new_tables, observer)
        self._ready: list[Group] = []

    @property
    def busy(self) -> bool:
        """Return whether groups are being taken over."""
        return bool(self._resuming.busy or self._loading.busy or self._ready)

    @property
    def waits(self) -> bool:
        """Return whether the next step has nothing at hand: the engine may rest for a moment before it."""
        return self._loading.waits and not self._ready

    @property
    def groups(self) -> list[Group]:
        """Return the groups that are not read yet, in order."""
        under_way = [*self._resuming.groups, *self._loading.groups, *self._ready]
        return sorted(under_way, key=lambda group: group.key)

    def describe(self) -> str:
        """Return which groups are not read yet, in words."""
        names = [_name(group) for group in self.groups]
        rest = [f"{len(names) - _NAMED_GROUPS} more"] if len(names) > _NAMED_GROUPS else []
        return f"restoring {', '.join([*names[:_NAMED_GROUPS], *rest])}"

    def begin(self, groups: Sequence[Group]) -> None:
        """Start to take over ``groups``; it happens in ``step``. What is kept of others is dropped."""
        self._began = time.monotonic()
        self._loading.expect({group.key for group in groups})
        self._resuming.begin(groups)

    def forget(self) -> None:
        """Interrupt what is under way: where it has to go on must be found out anew."""
        self.park({group.key: group for group in self._ready})
        self._ready = []
        self._resuming.forget()
        self._loading.forget()

    def park(self, groups: Mapping[GroupKey, Group]) -> None:
        """Keep ``groups``, all committed, for the case that they come back unchanged."""
        self._resuming.park(groups)

    def close(self) -> None:
        """Drop everything, what is parked included."""
        let_go(self._ready)
        self._ready = []
        self._resuming.close()
        self._loading.close()

    def step(self, *, alone: bool) -> list[Group]:
        """Do the next bounded piece of work; return the groups that are read from now on.

        ``alone`` says that no other group is read meanwhile: then pieces are longer.

        Raises:
            EngineRestart, OutageError, ConfigurationError: they cannot be taken over.
        """
        if self._resuming.busy:
            self._ready += self._loading.begin(self._resuming.step(READ_SECONDS if alone else SLICE_SECONDS))
        elif self._loading.busy:
            self._ready += self._loading.step(alone=alone)
        return self._start() if self._ready else []

    def _start(self) -> list[Group]:
        """Begin to read what is restored, as soon as the consumer is ready for it."""
        started = self._ready
        if not self._consumer.start({key: position for group in started for key, position in group.positions.items()}):
            return []
        self._ready = []
        for group in started:
            group.committed_at = time.monotonic()
            group.clean_at = {}
            self._observer.restored(_name(group), time.monotonic() - self._began)
        return started


def _name(group: Group) -> str:
    return f"{group.part.name}[{group.partition}]"
