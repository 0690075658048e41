"""What a transaction commits besides its outputs: positions, state records and changelogs, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka import TopicPartition

from streamserve.kafka.marks import OffsetMark, Progress, TopicPartitionKey
from streamserve.records import Emission

__all__ = ["ChangelogBatch", "Frozen", "GroupCommit", "is_fenced"]

_GENERATION = slice(7, 11)
_NO_GENERATION = b"\xff\xff\xff\xff"


def is_fenced(membership: object) -> bool:
    """Return whether the broker checks offsets that are sent with this group metadata.

    It is librdkafka's ``CGMDv2:``, then the generation in four bytes. With generation -1 (no member of the group) the
    coordinator skips the check (``ClassicGroup.validateOffsetCommit``).

    >>> is_fenced(b"CGMDv2:" + bytes(4)), is_fenced(b"CGMDv2:" + _NO_GENERATION), is_fenced(None)
    (True, False, False)
    """
    return isinstance(membership, bytes) and membership[_GENERATION] not in (b"", _NO_GENERATION)


@dataclass(frozen=True, slots=True)
class ChangelogBatch:
    """Records of one changelog partition, in columns: the last value of each key that changed, ``None`` to delete it.

    >>> ChangelogBatch("app-seen-changelog", 3, [b"a", b"b"], [b"1", None])
    ChangelogBatch(topic='app-seen-changelog', partition=3, keys=[b'a', b'b'], values=[b'1', None])

    Raises:
        ValueError: there are not as many values as keys.
    """

    topic: str
    partition: int
    keys: Sequence[bytes]
    values: Sequence[bytes | None]

    def __post_init__(self) -> None:
        if len(self.keys) != len(self.values):
            raise ValueError(
                f"changelog {self.topic}[{self.partition}]: {len(self.keys)} keys with {len(self.values)} values"
            )


@dataclass(frozen=True, slots=True)
class GroupCommit:
    """One partition group's share of a commit.

    ``positions`` are next offsets by topic and partition. ``state`` is the group's new state record, if it changed;
    ``state_offset`` is where its last one stands, ``None`` before the first. ``changes`` go to its tables' changelogs.
    ``progress`` says more about each position.
    """

    positions: Mapping[TopicPartitionKey, int]
    watermark_ms: int | None = None
    state: Emission | None = None
    state_offset: int | None = None
    changes: Sequence[ChangelogBatch] = ()
    progress: Mapping[TopicPartitionKey, Progress] = field(default_factory=dict[TopicPartitionKey, Progress])

    @property
    def state_from(self) -> int | None:
        """Return from where on the changelog is read to find the state as of this commit; ``None``: there is none.

        That is where the *last* record stands: where this commit's will is not known while it is on its way.
        """
        return self.state_offset if self.state_offset is not None or self.state is None else 0


@dataclass(frozen=True, slots=True)
class Frozen:
    """What a closing transaction commits, all read at the same moment.

    ``membership`` is the consumer's group metadata, read with the positions.
    """

    groups: Sequence[GroupCommit]
    membership: Any

    def check(self) -> None:
        """Make sure that the broker will compare these offsets with the group's generation.

        Raises:
            AssertionError: there is no position, or no generation: another member's commit could be overwritten.
        """
        if not any(group.positions for group in self.groups):
            raise AssertionError("a transaction without offsets is not fenced: re-send one that is owned")
        if not is_fenced(self.membership):
            raise AssertionError("without a generation of the group the broker would not fence these offsets")

    def offsets(self, instance: str) -> list[TopicPartition]:
        """Return every position with the mark that ``instance`` leaves beside it."""
        return [
            TopicPartition(*key, offset, metadata=_mark(group, key, instance).encode())
            for group in self.groups
            for key, offset in group.positions.items()
        ]


def _mark(group: GroupCommit, key: TopicPartitionKey, instance: str) -> OffsetMark:
    progress = group.progress.get(key)
    if progress is None:
        return OffsetMark(instance, group.watermark_ms, group.state_from)
    return OffsetMark.of(instance, group.watermark_ms, group.state_from, progress)
