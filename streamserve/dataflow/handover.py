"""What happens to partition groups between two owners, one bounded step at a time, outside rebalance callbacks.

    assigned ──▶ positions ──▶ state ──────▶ tables ─────▶ reading
                 (fence dead   (one record   (changelogs,
                  owners)       a group)      to their ends)

A rebalance on the way starts it anew. A group that comes back to this worker with its committed offsets unchanged keeps
the state that it had.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from streamserve.dataflow.groups import Group, GroupState, decode_states
from streamserve.dataflow.plan import GroupKey, Plan
from streamserve.dataflow.stores import let_go, on_disk
from streamserve.kafka.calls import Calls
from streamserve.kafka.changelog import ChangelogReader
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import Committed, OffsetMark, Progress, TopicPartitionKey
from streamserve.kafka.patience import Patience
from streamserve.kafka.restore import StateReader, StoredState, Takeover
from streamserve.monitoring.labels.group import GroupLabels
from streamserve.observer import Observer
from streamserve.settings import Settings
from streamserve.state.base import ChangelogState
from streamserve.state.store import Store


class _Loading(NamedTuple):
    """A table or window of a group that is read from its changelog."""

    group: Group
    name: str

    @property
    def state(self) -> ChangelogState:
        return self.group.tables[self.name]


class Handover:
    """Takes over the groups given to ``begin``: ``step`` until it is not ``busy`` any more.

    ``new_states`` makes the states of a group, from their snapshots where there are any.
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
        self._plan = plan
        self._settings = settings
        self._calls = calls
        self._consumer = consumer
        self._new_states = new_states
        self._new_tables = new_tables
        self._observer = observer
        self._began = 0.0
        self._patience = Patience(settings)
        self._takeover: Takeover | None = None
        self._reader: StateReader | None = None
        self._changelogs: ChangelogReader | None = None
        self._loading: dict[TopicPartitionKey, _Loading] = {}
        self._restoring: list[Group] = []
        self._starting: list[Group] = []
        self._parked: dict[GroupKey, Group] = {}

    @property
    def busy(self) -> bool:
        """Return whether groups are being taken over."""
        return bool(self._takeover or self._reader or self._changelogs or self._starting)

    def begin(self, groups: Sequence[Group]) -> None:
        """Start to take over ``groups``; it happens in ``step``."""
        self._began = time.monotonic()
        self._restoring = list(groups)
        inputs = sorted({key for group in groups for key in group.inputs})
        self._takeover = Takeover(self._plan.app, inputs, self._consumer, self._settings, self._calls)

    def forget(self) -> None:
        """Drop a take-over that is under way: what it read holds no more."""
        readers = [reader for reader in (self._reader, self._changelogs) if reader is not None]
        self._takeover = self._reader = self._changelogs = None
        let_go([*self._restoring, *self._starting])
        self._restoring, self._starting, self._loading = [], [], {}
        for reader in readers:
            reader.close()

    def park(self, groups: Mapping[GroupKey, Group]) -> None:
        """Keep ``groups``, all committed, for the case that they come back unchanged."""
        self._parked |= groups

    def close(self) -> None:
        """Drop everything, what is parked included."""
        let_go(self._parked.values())
        self._parked = {}
        self.forget()

    def step(self) -> list[Group]:
        """Do the next bounded piece of work; return the groups that are read from now on.

        Raises:
            EngineRestart, OutageError, ConfigurationError: they cannot be taken over.
        """
        if self._takeover is not None:
            if self._takeover.step():
                self._settle_positions(self._takeover.committed)
                self._takeover = None
                self._request_states()
        elif self._reader is not None:
            self._read_states(self._reader)
        elif self._changelogs is not None:
            self._read_tables(self._changelogs)
        return self._start() if self._starting else []

    def _settle_positions(self, committed: Mapping[TopicPartitionKey, Committed]) -> None:
        """Give each group its committed position; one that comes back unchanged keeps its state."""
        for index, group in enumerate(self._restoring):
            found = {key: committed[key] for key in group.inputs}
            progress = {key: item.progress or Progress(self._consumer.beginning(key)) for key, item in found.items()}
            marks = [item.mark for item in found.values() if item.mark is not None]
            state_from = max((m.state_from for m in marks if m.state_from is not None), default=None)
            parked = self._parked.get(group.key)
            if parked is not None and self._unchanged(parked, progress, state_from, marks):
                self._restoring[index] = self._parked.pop(group.key)
                continue
            group.progress, group.state_from = progress, state_from
            group.resume_watermark(_watermark_of(marks))
        let_go(self._parked.values())
        self._parked = {}

    def _unchanged(
        self,
        parked: Group,
        progress: Mapping[TopicPartitionKey, Progress],
        state_from: int | None,
        marks: Sequence[OffsetMark],
    ) -> bool:
        """Return whether nobody has committed for the group since it was ``parked``: its state still holds."""
        mine = all(mark.instance == self._settings.instance for mark in marks)
        return mine and (parked.progress, parked.state_from) == (progress, state_from)

    def _request_states(self) -> None:
        wanted: dict[int, dict[bytes, int]] = {}
        for group in self._restoring:
            if group.state_from is not None and not group.states and self._plan.is_stateful:
                wanted.setdefault(group.partition, {})[group.part.name.encode()] = group.state_from
        if not wanted:
            self._restore({})
            return
        self._reader = StateReader(self._plan.app, self._plan.state_topic, self._settings, self._calls)
        self._reader.request(wanted, {group.part.name.encode(): group.part.past_names for group in self._restoring})

    def _read_states(self, reader: StateReader) -> None:
        stored = reader.step()
        if stored is not None:
            self._reader = None
            reader.close()
            self._restore(stored)

    def _restore(self, stored: Mapping[tuple[int, bytes], StoredState]) -> None:
        """Make the states of what is taken over, from what is ``stored`` where there is something."""
        for group in self._restoring:
            if not group.states:
                found = stored.get((group.partition, group.part.name.encode()))
                group.state_offset = found.offset if found is not None else None
                group.states = self._new_states(group, decode_states(found.value) if found is not None else {})
        self._request_tables()

    def _request_tables(self) -> None:
        for group in self._restoring:
            if not group.tables:
                group.tables = self._new_tables(group)
                for name in group.tables:
                    self._loading[self._plan.changelog_of(name), group.partition] = _Loading(group, name)
        if not self._loading:
            self._restored()
            return
        self._changelogs = ChangelogReader(self._plan.app, self._settings, self._calls)
        self._patience = Patience(self._settings)
        starts = dict.fromkeys(self._loading, 0)
        for place, loading in self._loading.items():
            if (table := on_disk(loading.group).get(loading.name)) is not None:
                starts[place] = _start_of(table.store, self._changelogs.end(place))
        self._changelogs.request(starts)

    def _read_tables(self, reader: ChangelogReader) -> None:
        columns = reader.step()
        if columns:
            self._patience.renew()
        elif columns is not None:
            self._patience.wait_for("the ends of the changelogs")
        if columns is not None:
            for place, keys, values in columns:
                self._loading[place].state.load(keys, values)
            for place in {column.place for column in columns}:
                group, name = self._loading[place]
                group.clean_at[name] = reader.position(place)
            self._observer.restoring(*reader.progress())
            return
        self._changelogs = None
        reader.close()
        for (_, partition), loading in self._loading.items():
            loading.state.loaded()
            if isinstance(loading.state, GroupLabels) and loading.state.discarded:
                self._observer.state_discarded("labels", partition, loading.state.discarded)
        self._loading = {}
        self._restored()

    def _restored(self) -> None:
        self._restoring, self._starting = [], self._restoring

    def _start(self) -> list[Group]:
        """Begin to read what is restored, as soon as the consumer is ready for it."""
        started = self._starting
        if not self._consumer.start({key: position for group in started for key, position in group.positions.items()}):
            return []
        self._starting = []
        for group in started:
            group.committed_at = time.monotonic()
            group.clean_at = {}
            self._observer.restored(f"{group.part.name}[{group.partition}]", time.monotonic() - self._began)
        return started


def _watermark_of(marks: Sequence[OffsetMark]) -> int | None:
    return max((mark.watermark_ms for mark in marks if mark.watermark_ms is not None), default=None)


def _start_of(store: Store, end: int) -> int:
    """Return the offset from which a changelog that ends at ``end`` is read into ``store``.

    A store that knows more than the changelog belongs to another one: it is emptied.
    """
    if store.opened_at is not None and store.opened_at > end:
        store.clear()
    return store.opened_at or 0
