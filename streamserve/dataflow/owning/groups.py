"""Partition groups: what is owned, restored and committed as one."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from streamserve.dataflow.batch import NEVER, RecordBatch
from streamserve.dataflow.planning.plan import GroupKey, Part, Plan
from streamserve.kafka.commit import ChangelogBatch, GroupCommit
from streamserve.kafka.marks import Progress, TopicPartitionKey
from streamserve.records import Emission
from streamserve.state.base import ChangelogState

_FORMAT = 1


class GroupState(Protocol):
    """Something that lives with one partition group and survives restarts through its state record."""

    @property
    def dirty(self) -> bool:
        """Return whether ``snapshot`` would differ from the last one."""
        ...

    def snapshot(self) -> bytes:
        """Return everything needed to go on; the state is clean afterwards."""
        ...


class StateRecord(msgspec.Struct, frozen=True):
    """The value of a state record: one entry per named state of the group."""

    states: Mapping[str, bytes]
    format: int = _FORMAT


@dataclass(slots=True)
class Group:
    """One partition group as its owner holds it.

    ``progress`` says how far each input is processed; ``watermark_ms`` is the event time up to which records are
    expected to be complete, but for ``idle`` topics. ``states`` go into one state record together; ``tables``, and
    windows among them, have a changelog each. ``clean_at`` has, by table on disk, up to which offset of its changelog
    the store holds everything; it is empty while records are processed.
    """

    part: Part
    partition: int
    progress: dict[TopicPartitionKey, Progress] = field(default_factory=dict[TopicPartitionKey, Progress])
    watermark_ms: int | None = None
    state_offset: int | None = None
    state_from: int | None = None
    states: dict[str, GroupState] = field(default_factory=dict[str, GroupState])
    tables: dict[str, ChangelogState] = field(default_factory=dict[str, ChangelogState])
    clean_at: dict[str, int] = field(default_factory=dict[str, int])
    idle: Collection[str] = ()
    moved: bool = False
    committed_at: float = 0.0
    _newest_ms: dict[str, int] = field(default_factory=dict[str, int])

    @property
    def key(self) -> GroupKey:
        """Return the group's identity."""
        return self.part.name, self.partition

    @property
    def is_idle(self) -> bool:
        """Return whether nothing is to be expected of any input for now."""
        return len(self.idle) == len(self.part.topics)

    @property
    def positions(self) -> dict[TopicPartitionKey, int]:
        """Return the first offset of each input that is not processed, as far as it is known."""
        return {key: progress.position for key, progress in self.progress.items()}

    @property
    def inputs(self) -> list[TopicPartitionKey]:
        """Return the topic partitions that make up the group."""
        return [(topic, self.partition) for topic in self.part.topics]

    def see(self, newest_ms: Mapping[str, int]) -> None:
        """Move the watermark on to the least of the topics' times; it never goes back.

        ``newest_ms`` has the time of topics before which everything is in. A topic that is ``idle`` does not hold the
        watermark back; another that was not heard of yet does.
        """
        for topic, newest in newest_ms.items():
            self._newest_ms[topic] = max(newest, self._newest_ms.get(topic, newest))
        self.watermark_ms = self._next_watermark()

    def come_to(self, reached_ms: int) -> None:
        """Move the watermark on to where it stands as a row's turn comes."""
        if reached_ms > NEVER:
            self.watermark_ms = reached_ms

    def rest(self, idle: Collection[str]) -> bool:
        """Take note of which topics are ``idle``; return whether that alone would move the watermark on."""
        self.idle = idle
        return self._next_watermark() != self.watermark_ms

    def _next_watermark(self) -> int | None:
        """Return what the watermark may be: where all topics are idle, the newest of their times."""
        known, speaking = self._newest_ms, [topic for topic in self.part.topics if topic not in self.idle]
        if not known or any(topic not in known for topic in speaking):
            return self.watermark_ms
        low = min(known[topic] for topic in speaking) if speaking else max(known.values())
        return low if self.watermark_ms is None else max(low, self.watermark_ms)

    def resume_watermark(self, watermark_ms: int | None) -> None:
        """Go on at a stored watermark: every topic was seen up to there, and holds it back until it speaks again."""
        self.watermark_ms = watermark_ms
        self._newest_ms = {} if watermark_ms is None else dict.fromkeys(self.part.topics, watermark_ms)

    @property
    def time_ms(self) -> int | None:
        """Return the event time of what belongs to no event: the watermark, or what was seen while there is none."""
        return max(self._newest_ms.values(), default=None) if self.watermark_ms is None else self.watermark_ms

    def freeze(self, plan: Plan) -> GroupCommit | None:
        """Return the group's share of a commit, or ``None`` when nothing changed."""
        dirty = any(state.dirty for state in self.states.values())
        if not (self.moved or dirty) or not self.progress:
            return None
        record = self._state_record(plan.state_topic) if dirty else None
        return GroupCommit(
            self.positions,
            self.watermark_ms,
            record,
            self.state_offset,
            changes=self._changes(plan),
            progress=dict(self.progress),
        )

    def _changes(self, plan: Plan) -> list[ChangelogBatch]:
        taken = [(name, state.take_changes()) for name, state in self.tables.items()]
        return [
            ChangelogBatch(plan.changelog_of(name), self.partition, keys, values)
            for name, (keys, values) in taken
            if keys
        ]

    def _state_record(self, topic: str) -> Emission:
        states = {name: state.snapshot() for name, state in self.states.items()}
        value = msgspec.msgpack.encode(StateRecord(states))
        return Emission(topic, value, self.part.name.encode(), partition=self.partition)


def decode_states(value: bytes) -> Mapping[str, bytes]:
    """Return the named states of a state record; a record of another format counts as none."""
    record = msgspec.msgpack.decode(value, type=StateRecord)
    return record.states if record.format == _FORMAT else {}


def newest_by_partition(batch: RecordBatch) -> dict[int, dict[str, int]]:
    """Return the newest event time of each topic in ``batch``, by partition."""
    if batch.times_ms is None:
        return {}
    newest: dict[int, dict[str, int]] = {}
    for partition, start, stop in batch.runs():
        seen = newest.setdefault(partition, {})
        if isinstance(batch.topics, str):
            times = [(batch.topics, max(batch.times_ms[start:stop]))]
        else:
            times = zip(batch.topics[start:stop], batch.times_ms[start:stop], strict=True)
        for topic, time_ms in times:
            seen[topic] = max(time_ms, seen.get(topic, time_ms))
    return newest


def complete_groups(parts: Sequence[Part], owned: Sequence[TopicPartitionKey]) -> list[Group]:
    """Return the groups of which *every* input is in ``owned``."""
    have = set(owned)
    partitions = sorted({partition for _, partition in have})
    groups = [Group(part, partition) for part in parts for partition in partitions]
    return [group for group in groups if have.issuperset(group.inputs)]
