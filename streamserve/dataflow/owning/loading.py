"""Reading the tables and windows of partition groups back from their changelogs: the second half of a handover."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Sequence
from typing import NamedTuple

from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.owning.stores import let_go, on_disk
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.kafka.calls import Calls
from streamserve.kafka.changelog import ChangelogColumns, ChangelogReader
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.kafka.patience import Patience
from streamserve.kafka.whole import READ_SECONDS
from streamserve.monitoring.labels.group import GroupLabels
from streamserve.observer import Observer
from streamserve.settings import Settings
from streamserve.state.base import ChangelogState
from streamserve.state.store import Store

__all__ = ["SLICE_SECONDS", "Loading"]

_READ_RECORDS = 10_000
SLICE_SECONDS = 0.005
"""What other groups' records wait for at most: as long as a commit takes at the median, and enough to read thousands of
records. Half of an idle worker's time goes into reading then, and a busy one reads on once per poll."""
_SLICE_RECORDS = 1_000
"""Records are taken in at about a million a second, so this keeps a slice in time."""


class _Place(NamedTuple):
    """A table or window of a group that is read from its changelog."""

    group: Group
    name: str

    @property
    def state(self) -> ChangelogState:
        return self.group.tables[self.name]


class Loading:
    """Loads the groups given to ``begin``, side by side: ``step`` while it is ``busy``.

    Each goes on as soon as its own changelogs are read to the ends that they had at the beginning. What is loaded when
    ``forget`` interrupts is kept: a group that is given to ``begin`` next is read on from there. What others have
    committed for it meanwhile stands behind in its changelogs, since compaction only ever removes what a later record
    replaces, but for deletions that are older than ``delete.retention.ms``.

    Two things take longer than a slice, the more records the longer: what a window, a stream join or a label join
    builds when its last record is read, and the search for a table's timers then. To open a group, a broker is asked
    for the ends of its changelogs.

    ``new_tables`` makes the tables and windows of a group, empty.

    Raises (from ``step``):
        BrokerUnavailable: no broker answers, or a changelog is held back by a transaction that hangs.
        ConfigurationError: a changelog is not the one that was written, or a table's directory cannot be used.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        calls: Calls,
        new_tables: Callable[[Group], dict[str, ChangelogState]],
        observer: Observer,
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._calls = calls
        self._new_tables = new_tables
        self._observer = observer
        self._unopened: list[Group] = []
        self._groups: dict[GroupKey, Group] = {}
        self._places: dict[TopicPartitionKey, _Place] = {}
        self._interrupted: dict[GroupKey, Group] = {}
        self._reader: ChangelogReader | None = None
        self._patience = Patience(settings)
        self.waits = False
        """Whether nothing was at hand for the last step."""

    @property
    def busy(self) -> bool:
        """Return whether groups are on the way."""
        return bool(self._unopened or self._groups)

    @property
    def groups(self) -> Collection[Group]:
        """Return the groups on the way."""
        return [*self._unopened, *self._groups.values()]

    def begin(self, groups: Sequence[Group]) -> list[Group]:
        """Take ``groups`` on the way; return those that have nothing to load, or have it already."""
        self._unopened += [group for group in groups if _has_to_load(group)]
        self.waits = False
        return [group for group in groups if not _has_to_load(group)]

    def expect(self, keys: Collection[GroupKey]) -> None:
        """Drop what was loaded of other groups than those of ``keys`` when it was interrupted."""
        let_go(group for key, group in self._interrupted.items() if key not in keys)
        self._interrupted = {key: group for key, group in self._interrupted.items() if key in keys}

    def forget(self) -> None:
        """Interrupt what is under way, and keep what is loaded so far."""
        self._interrupted |= self._groups
        self._unopened, self._groups, self._places = [], {}, {}
        self.waits = False
        self._close_reader()

    def close(self) -> None:
        """Drop everything."""
        self.forget()
        self.expect(())

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    def step(self, *, alone: bool) -> list[Group]:
        """Do the next piece of work; return the groups that are loaded by it.

        ``alone`` says that no other group waits for this worker: then a piece is longer, and waits for what is to come.
        """
        if self._unopened:
            return self._open(self._unopened.pop(0))
        return self._read(self._reader, alone=alone) if self._reader is not None else []

    # --- opening ------------------------------------------------------------------------------------------------

    def _open(self, group: Group) -> list[Group]:
        """Make the tables of one group, or take up what was interrupted; begin to read once all are opened."""
        reader = self._reader = self._reader or ChangelogReader(self._plan.app, self._settings, self._calls)
        interrupted = self._interrupted.pop(group.key, None)
        if interrupted is not None:
            group.tables, group.clean_at = interrupted.tables, interrupted.clean_at
        else:
            group.tables = self._new_tables(group)
        self._groups[group.key] = group
        for name in group.tables:
            place = self._plan.changelog_of(name), group.partition
            self._places[place] = _Place(group, name)
            group.clean_at[name] = self._start(group, name, place, reader)
            reader.add(place, group.clean_at[name])
        if self._unopened:
            return []
        self._patience = Patience(self._settings)
        reader.begin()
        return self._finish(reader)

    @staticmethod
    def _start(group: Group, name: str, place: TopicPartitionKey, reader: ChangelogReader) -> int:
        """Return the offset from which the changelog at ``place`` is read."""
        if (read_to := group.clean_at.get(name)) is not None:
            return read_to
        table = on_disk(group).get(name)
        return _start_of(table.store, reader.end(place)) if table is not None else 0

    # --- reading ------------------------------------------------------------------------------------------------

    def _read(self, reader: ChangelogReader, *, alone: bool) -> list[Group]:
        """Read and load until time is up or, while others wait for the worker, nothing is at hand."""
        until = time.monotonic() + (READ_SECONDS if alone else SLICE_SECONDS)
        records, reads_on = 0, True
        while reader.unread and reads_on:
            wait_seconds = max(0.0, until - time.monotonic()) if alone else 0.0
            columns = reader.read(_READ_RECORDS if alone else _SLICE_RECORDS, wait_seconds)
            self._load(columns, reader)
            records += sum(len(column.keys) for column in columns)
            reads_on = time.monotonic() < until and bool(columns or alone)
        self._observer.restoring(*reader.progress())
        finished = self._finish(reader)
        self.waits = not (records or finished or alone)
        self._be_patient(moved=bool(records or finished))
        return finished

    def _load(self, columns: Sequence[ChangelogColumns], reader: ChangelogReader) -> None:
        for place, keys, values in columns:
            if (target := self._places.get(place)) is not None:  # else its group runs by now, and wrote this itself
                target.state.load(keys, values)
                target.group.clean_at[target.name] = reader.position(place)

    def _be_patient(self, *, moved: bool) -> None:
        if moved:
            self._patience.renew()
        elif self._places:
            self._patience.wait_for("the ends of the changelogs")

    def _finish(self, reader: ChangelogReader) -> list[Group]:
        """Let the groups go of which everything is read."""
        unread = {self._places[place].group.key for place in reader.unread}
        finished = [self._groups.pop(key) for key in list(self._groups) if key not in unread]
        for group in finished:
            self._loaded(group)
        done = {place for place, target in self._places.items() if target.group.key not in unread}
        self._places = {place: target for place, target in self._places.items() if place not in done}
        if not self._groups:
            self._close_reader()
        elif done:
            reader.leave(done)
        return finished

    def _loaded(self, group: Group) -> None:
        for state in group.tables.values():
            state.loaded()
            if isinstance(state, GroupLabels) and state.discarded:
                self._observer.state_discarded("labels", group.partition, state.discarded)


def _has_to_load(group: Group) -> bool:
    return bool(group.part.states) and not group.tables


def _start_of(store: Store, end: int) -> int:
    """Return the offset from which a changelog that ends at ``end`` is read into ``store``.

    A store that knows more than the changelog belongs to another one: it is emptied.
    """
    if store.opened_at is not None and store.opened_at > end:
        store.clear()
    return store.opened_at or 0
