"""From what a poll gives to batches that can be processed now: each record goes to the intake of its part."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence

from streamserve.dataflow.arriving.intake import HELD_ROWS, Intake
from streamserve.dataflow.arriving.merge import Waits
from streamserve.dataflow.arriving.waiting import Waiting
from streamserve.dataflow.batch import Arrived, RecordBatch, column_of
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.observer import Observer
from streamserve.records import RawRecord

__all__ = ["Reading"]


class Reading:
    """Sorts records into the intakes of the app's parts, and lets go what they hold back when its time has come.

    ``groups`` are the engine's, as they stand. A topic of which too much is held back is paused until others catch up.
    """

    def __init__(
        self,
        plan: Plan,
        consumer: GroupConsumer,
        waiting: Waiting,
        groups: Mapping[GroupKey, Group],
        observer: Observer,
    ) -> None:
        self._plan = plan
        self._consumer = consumer
        self._waiting = waiting
        self._groups = groups
        self._observer = observer
        self._intakes: Mapping[str, Intake] = {}
        self._by_topic: dict[str, Intake] = {}
        self._holding: list[Intake] = []
        self._paused: set[TopicPartitionKey] = set()

    def attach(self, intakes: Mapping[str, Intake]) -> None:
        """Connect the intakes, by part; before the first poll."""
        self._intakes = intakes
        self._by_topic = {topic: intake for intake in intakes.values() for topic in intake.part.topics}
        self._note_holding()

    def _note_holding(self) -> None:
        self._holding = [intake for intake in self._intakes.values() if intake.holds]

    def begin(self, groups: Sequence[Group]) -> None:
        """Start to take in what ``groups`` read, where each was left."""
        self._waiting.begin([key for group in groups for key in group.inputs])
        for group in groups:
            progress = {topic: progress for (topic, _), progress in group.progress.items()}
            self._intakes[group.part.name].begin(group.partition, progress)
        self._note_holding()

    def forget(self) -> None:
        """Drop what is held back: its partitions are read again from their committed offsets."""
        for intake in self._intakes.values():
            intake.forget()
        self._paused.clear()

    def idle_topics(self, group: Group) -> Collection[str]:
        """Return the topics of which ``group`` has nothing to expect for now."""
        return self._intakes[group.part.name].idle(group.partition, self._waiting.of(group.part))

    # --- records in, batches out --------------------------------------------------------------------------------

    def take(self, records: list[RawRecord], *, singly: bool) -> list[RecordBatch]:
        """Hand ``records`` to their parts' intakes; return the batches that can be processed now."""
        batches: list[RecordBatch] = []
        for topic, arrived in self._sorted(records).items():
            self._observer.polled(topic, len(arrived))
            intake = self._by_topic[topic]
            if intake.holds or self._plan.feeds_itself:
                self._waiting.heard(topic, arrived)
            self._observer.entered("decode", topic, Arrived(arrived))
            try:
                batches += intake.take(topic, arrived)
            finally:
                self._observer.left()
        return [*batches, *self.release(singly=singly)]

    def _sorted(self, records: list[RawRecord]) -> Mapping[str, list[RawRecord]]:
        """Return the records of each topic."""
        if len(self._by_topic) == 1:
            return dict.fromkeys(self._by_topic, records)
        by_topic: dict[str, list[RawRecord]] = {}
        for topic, record in zip(column_of(records, "topic"), records, strict=True):
            by_topic.setdefault(topic, []).append(record)
        return by_topic

    def release(self, *, singly: bool) -> list[RecordBatch]:
        """Return what parts that hold records back can let go, and keep their read-ahead within bounds.

        ``singly`` gives each record a batch of its own.
        """
        batches: list[RecordBatch] = []
        for intake in self._holding:
            waits = self._waiting.of(intake.part)
            released = intake.release(waits, singly=singly)
            moving = {partition for batch in released for partition in batch.watermarks or ()}
            batches += [*released, *self._rest(intake, waits, moving)]
            self._bound_read_ahead(intake)
        return batches

    def _rest(self, intake: Intake, waits: Mapping[int, Waits], moving: Collection[int]) -> Iterator[RecordBatch]:
        """Yield a batch without rows for each group of the part whose watermark moves on since a topic is idle.

        Those that are ``moving`` anyway, with rows or with their watermark, need none.
        """
        for group in self._groups.values():
            if group.part is not intake.part:
                continue
            if group.rest(intake.idle(group.partition, waits)) and group.partition not in moving:
                progress, nothing_new = dict(group.progress), {group.partition: dict[str, int]()}
                yield RecordBatch(group.part.name, [], [], [], [], [], progress, watermarks=nothing_new)

    def _bound_read_ahead(self, intake: Intake) -> None:
        held = intake.backlog()
        full = {key for key, rows in held.items() if rows > HELD_ROWS} - self._paused
        drained = {key for key in self._paused if held.get(key, 0) < HELD_ROWS // 2 and key[0] in intake.part.topics}
        self._consumer.pause(full)
        self._consumer.resume(drained)
        self._paused = (self._paused | full) - drained
