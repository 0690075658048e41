"""Where partition groups go on, and with which state: the first half of a handover."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from typing import NamedTuple

from streamserve.dataflow.owning.groups import Group, GroupState, decode_states
from streamserve.dataflow.owning.stores import let_go
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.errors import BrokerUnavailable
from streamserve.kafka.calls import Calls
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import Committed, OffsetMark, Progress, TopicPartitionKey
from streamserve.kafka.restore import StateReader, StoredState, Takeover
from streamserve.settings import Settings

__all__ = ["Resuming"]


class Resuming:
    """Gives groups their committed positions and their states: ``step`` while it is ``busy``.

    1. Groups that were parked here and that nobody has committed for since go on at once, with all that they had. They
       wait for nobody else: not for dead owners to be fenced, nor for a transaction that is still open elsewhere.
    2. The last owners of the others are fenced if they are dead, and the stable committed offsets are read.
    3. Their state records are read, from the state topic. All go on together then: the tail that is to be read there
       has a record for each group and commit since the last compaction at most.

    ``new_states`` makes the states of a group, from their snapshots where there are any.

    Raises (from ``step``):
        EngineRestart, OutageError, ConfigurationError: the groups cannot be taken over.
    """

    def __init__(
        self,
        plan: Plan,
        settings: Settings,
        calls: Calls,
        consumer: GroupConsumer,
        new_states: Callable[[Group, Mapping[str, bytes]], dict[str, GroupState]],
    ) -> None:
        self._plan = plan
        self._settings = settings
        self._calls = calls
        self._consumer = consumer
        self._new_states = new_states
        self._groups: list[Group] = []
        self._parked: dict[GroupKey, Group] = {}
        self._next: Callable[[], list[Group]] | None = None
        self._takeover: Takeover | None = None
        self._reader: StateReader | None = None
        self._wait_seconds = 0.0

    @property
    def busy(self) -> bool:
        """Return whether groups are on the way."""
        return self._next is not None

    @property
    def groups(self) -> Collection[Group]:
        """Return the groups on the way."""
        return self._groups

    def park(self, groups: Mapping[GroupKey, Group]) -> None:
        """Keep ``groups``, all committed, for the case that they come back unchanged."""
        self._parked |= groups

    def begin(self, groups: Sequence[Group]) -> None:
        """Take ``groups`` on the way; what is parked of others is dropped."""
        self._groups = list(groups)
        self._next = self._look_for_parked if groups else None
        if not groups:
            self._drop_parked()

    def step(self, wait_seconds: float) -> list[Group]:
        """Do the next bounded piece of work; return the groups whose positions and states are known by it.

        For state records that are on their way it waits up to ``wait_seconds``.
        """
        self._wait_seconds = wait_seconds
        return self._next() if self._next is not None else []

    def forget(self) -> None:
        """Drop what is on the way: what was read holds no more. What is parked stays."""
        self._groups, self._next, self._takeover = [], None, None
        self._close_reader()

    def close(self) -> None:
        """Drop everything, what is parked included."""
        self._drop_parked()
        self.forget()

    def _close_reader(self) -> None:
        reader, self._reader = self._reader, None
        if reader is not None:
            reader.close()

    # --- what was parked ----------------------------------------------------------------------------------------

    def _look_for_parked(self) -> list[Group]:
        inputs = [key for group in self._groups if group.key in self._parked for key in group.inputs]
        back: list[Group] = []
        with suppress(BrokerUnavailable):  # somebody else's commit is under way: they are judged with the others
            back = self._take_back(self._consumer.committed(inputs) if inputs else {})
            self._drop_parked()
        self._next = self._settle_positions if self._groups else None
        if self._groups:
            inputs = sorted({key for group in self._groups for key in group.inputs})
            self._takeover = Takeover(self._plan.app, inputs, self._consumer, self._settings, self._calls)
        return back

    def _take_back(self, committed: Mapping[TopicPartitionKey, Committed]) -> list[Group]:
        """Return the groups that nobody has committed for since they were parked: their state still holds."""
        wanted = [group for group in self._groups if group.key in self._parked and committed.keys() >= {*group.inputs}]
        back = {group.key for group in wanted if self._is_unchanged(self._parked[group.key], committed)}
        self._groups = [group for group in self._groups if group.key not in back]
        return [self._parked.pop(key) for key in sorted(back)]

    def _is_unchanged(self, parked: Group, committed: Mapping[TopicPartitionKey, Committed]) -> bool:
        found = self._found(parked, committed)
        mine = all(mark.instance == self._settings.instance for mark in found.marks)
        return mine and (parked.progress, parked.state_from) == (found.progress, found.state_from)

    def _drop_parked(self) -> None:
        let_go(self._parked.values())
        self._parked = {}

    # --- positions ----------------------------------------------------------------------------------------------

    def _settle_positions(self) -> list[Group]:
        takeover = self._takeover
        if takeover is None or not takeover.step():
            return []
        self._takeover = None
        back = self._take_back(takeover.committed)
        self._drop_parked()
        for group in self._groups:
            found = self._found(group, takeover.committed)
            group.progress, group.state_from = found.progress, found.state_from
            group.resume_watermark(found.watermark_ms)
        return [*back, *self._request_states()]

    def _found(self, group: Group, committed: Mapping[TopicPartitionKey, Committed]) -> _Found:
        found = {key: committed[key] for key in group.inputs}
        progress = {key: item.progress or Progress(self._consumer.beginning(key)) for key, item in found.items()}
        return _Found(progress, [item.mark for item in found.values() if item.mark is not None])

    # --- states -------------------------------------------------------------------------------------------------

    def _request_states(self) -> list[Group]:
        wanted: dict[int, dict[bytes, int]] = {}
        for group in self._groups:
            if group.state_from is not None and self._plan.is_stateful:
                wanted.setdefault(group.partition, {})[group.part.name.encode()] = group.state_from
        if not wanted:
            return self._make_states({})
        self._reader = StateReader(self._plan.app, self._plan.state_topic, self._settings, self._calls)
        self._reader.request(wanted, {group.part.name.encode(): group.part.past_names for group in self._groups})
        self._next = self._read_states
        return []

    def _read_states(self) -> list[Group]:
        stored = self._reader.step(self._wait_seconds) if self._reader is not None else None
        if stored is None:
            return []
        self._close_reader()
        return self._make_states(stored)

    def _make_states(self, stored: Mapping[tuple[int, bytes], StoredState]) -> list[Group]:
        """Make the states of what is on the way, from what is ``stored`` where there is something."""
        groups, self._groups, self._next = self._groups, [], None
        for group in groups:
            found = stored.get((group.partition, group.part.name.encode()))
            group.state_offset = found.offset if found is not None else None
            group.states = self._new_states(group, decode_states(found.value) if found is not None else {})
        return groups


class _Found(NamedTuple):
    """Where a group was left, as its committed offsets say."""

    progress: dict[TopicPartitionKey, Progress]
    marks: Sequence[OffsetMark]

    @property
    def state_from(self) -> int | None:
        """Return from where on the state topic has the group's state, ``None`` where it has none."""
        return max((mark.state_from for mark in self.marks if mark.state_from is not None), default=None)

    @property
    def watermark_ms(self) -> int | None:
        """Return the group's watermark, ``None`` where it has none."""
        return max((mark.watermark_ms for mark in self.marks if mark.watermark_ms is not None), default=None)
