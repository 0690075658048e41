"""From polled records to batches: decode, read event times, and put the topics of one part in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import groupby, zip_longest
from operator import attrgetter
from typing import Any

from streamserve.codecs.base import ValueCodec
from streamserve.dataflow.arriving.arrivals import Arrivals, InLogOrder, InTimeOrder, Row
from streamserve.dataflow.arriving.channels import IDLE_MS, read_marker
from streamserve.dataflow.arriving.future import is_future, may_be_future
from streamserve.dataflow.arriving.merge import EventTimeMerge, Segment, Waits
from streamserve.dataflow.batch import Failure, RecordBatch, Run, column_of, runs_of
from streamserve.dataflow.planning.nodes import TopicNode
from streamserve.dataflow.planning.plan import Part
from streamserve.errors import DecodeError, FutureRecord, RecordError, TransactionAborted
from streamserve.kafka.marks import Limits, Progress, TopicPartitionKey
from streamserve.records import RawRecord, to_epoch_ms

HELD_ROWS = 20_000
"""A topic with more rows than this held back is paused until the others catch up."""


class TopicReader:
    """Decodes the records of one topic and reads their event times.

    ``for_user_code`` decides between instances of the user's type and the fastest equal decoder.
    """

    def __init__(self, node: TopicNode, codec: ValueCodec[Any], *, for_user_code: bool, needs_time: bool) -> None:
        self.node = node
        self._decode = codec.decode_many if for_user_code else codec.decode_fields
        self._time_of = _time_getter(node)
        self.has_times = needs_time
        """Whether event times are read."""

    def decode(self, records: Sequence[RawRecord]) -> list[Any]:
        """Return each record's value, or its ``DecodeError``."""
        return self._decode(column_of(records, "value"))

    def times_ms(self, records: Sequence[RawRecord], values: Sequence[Any]) -> list[int] | None:
        """Return event times in milliseconds; the record's own timestamp where the topic declares no field.

        Raises:
            DecodeError: the event-time function failed or gave no datetime for some record.
        """
        if not self.has_times:
            return None
        if self.node.event_time is None:
            return [timestamp for _, timestamp in column_of(records, "timestamp")]
        return [self._time_ms(value) for value in values]

    def checked_times_ms(self, records: Sequence[RawRecord], values: Sequence[Any]) -> list[int] | None:
        """Return event times as ``times_ms`` does, none of them further in the future than the topic allows.

        Raises:
            DecodeError: as ``times_ms``.
            FutureRecord: some record's is.
        """
        times, allowed_ms = self.times_ms(records, values), self.node.max_future_ms
        if (
            times is not None
            and may_be_future(records, times, allowed_ms)
            and any(is_future(record, time_ms, allowed_ms) for record, time_ms in zip(records, times, strict=True))
        ):
            raise FutureRecord(self.node.name)
        return times

    def _time_ms(self, value: Any) -> int:
        try:
            instant = self._time_of(value)
        except Exception as error:
            text = f"topic {self.node.name!r}: the event-time function raised {type(error).__name__}"
            raise DecodeError(text) from error
        if isinstance(instant, datetime):
            return to_epoch_ms(instant)
        if isinstance(instant, int) and abs(instant) < IDLE_MS:
            return instant
        raise DecodeError(
            f"topic {self.node.name!r}: event time must be a datetime (or int milliseconds, of 62 bits),"
            f" not {type(instant).__name__}"
        )


def _time_getter(node: TopicNode) -> Callable[[Any], Any]:
    if isinstance(node.event_time, str):
        return attrgetter(node.event_time)
    return node.event_time or (lambda value: value)


class Intake:
    """Turns the polled records of one part into batches.

    A part of one topic gives them back as they come; where several are merged, rows wait for their time, or late ones
    are set aside, they are held for ``release``. ``channels`` has the number of partitions of the topics that others
    were regrouped from.
    """

    def __init__(
        self, part: Part, readers: Mapping[str, TopicReader], channels: Mapping[str, int] | None = None
    ) -> None:
        self._channels = channels or {}
        self._part = part
        self._readers = readers
        self._merges: dict[int, EventTimeMerge] = {}
        self._next: dict[TopicPartitionKey, int] = {}
        self.holds = part.holds({topic: reader.node for topic, reader in readers.items()})

    @property
    def part(self) -> Part:
        """Return the part whose topics this takes in."""
        return self._part

    def begin(self, partition: int, progress: Mapping[str, Progress]) -> None:
        """Start to take in ``partition``, where each topic was left."""
        self._next.update({(topic, partition): start.position for topic, start in progress.items()})
        if any(start.skips for start in progress.values()) and not self.holds:
            self.holds = True  # as the release did that left them half done
            for reader in self._readers.values():
                reader.has_times = True
        self._merges[partition] = EventTimeMerge(
            {topic: self._arrivals(topic, progress) for topic in self._part.topics}
        )

    def _arrivals(self, topic: str, progress: Mapping[str, Progress]) -> Arrivals:
        node = self._readers[topic].node
        start, limits = progress.get(topic, Progress(0)), Limits(node.max_out_of_orderness_ms, node.max_future_ms)
        refuses_late = node.late != "process"
        if node.upstream is not None:
            channels = self._channels[node.upstream]
            return InTimeOrder(limits, start, refuses_late=refuses_late, channels=channels)
        kind = InTimeOrder if self._part.sorts(node) else InLogOrder
        return kind(limits, start, refuses_late=refuses_late)

    def take(self, topic: str, records: list[RawRecord]) -> list[RecordBatch]:
        """Take records of ``topic``; return them as a batch unless they are held for ``release``.

        Raises:
            TransactionAborted: the client went back in the log.
        """
        partitions: list[int] = column_of(records, "partition")
        runs = runs_of(partitions)
        self._follow(topic, records, runs)
        values = self._readers[topic].decode(records)
        if not self.holds:
            return [self._batch(topic, records, values, partitions, runs)]
        for partition, rows in groupby(self._rows(topic, records, values), lambda row: row.record.partition() or 0):
            self._merges[partition].hold(rows)
        return []

    def _follow(self, topic: str, records: Sequence[RawRecord], runs: Sequence[Run]) -> None:
        """Note how far the log was read; a second line of defence against records that come twice."""
        for partition, start, stop in runs:
            expected, first = self._next.get((topic, partition), 0), records[start].offset() or 0
            if first < expected:
                raise TransactionAborted(
                    f"{topic}[{partition}]: offset {first} came where {expected} was due: the client went back in the"
                    " log. The restart reads on from what is committed."
                )
            self._next[topic, partition] = (records[stop - 1].offset() or 0) + 1

    def _batch(
        self,
        topic: str,
        records: Sequence[RawRecord],
        values: list[Any],
        partitions: Sequence[int],
        runs: Sequence[Run],
    ) -> RecordBatch:
        batch = RecordBatch(self._part.name, topic, records, values, partitions)
        batch.progress = {(topic, run.partition): Progress(self._next[topic, run.partition]) for run in runs}
        if DecodeError not in set(map(type, values)):
            try:
                batch.times_ms = self._readers[topic].checked_times_ms(records, values)
            except RecordError:
                self._sift(topic, batch)
        else:
            self._sift(topic, batch)
        return batch

    def _sift(self, topic: str, batch: RecordBatch) -> None:
        """Move the records that do not decode, or have no time or one that is refused, to the batch's failures."""
        reader = self._readers[topic]
        rows: list[int] = []
        times: list[int] = []
        failures: list[Failure] = []
        for row, (record, value) in enumerate(zip(batch.records, batch.values, strict=True)):
            try:
                if isinstance(value, DecodeError):
                    raise value
                times += reader.checked_times_ms([record], [value]) or ()
                rows.append(row)
            except RecordError as error:
                failures.append(Failure(record, error))
        kept = batch.take(rows)
        batch.records, batch.values, batch.partitions = kept.records, kept.values, kept.partitions
        batch.times_ms = times if reader.has_times else None
        batch.failures = failures

    def _rows(self, topic: str, records: Sequence[RawRecord], values: Sequence[Any]) -> Iterator[Row]:
        """Yield rows with times; a record without one takes the time of the last row before it that is not refused."""
        reader = self._readers[topic]
        allowed_ms, time_ms, last_ms = reader.node.max_future_ms, 0, 0
        for record, value in zip(records, values, strict=True):
            checked, time_ms = value, last_ms
            if isinstance(value, DecodeError):
                marked = read_marker(record) if reader.node.upstream is not None else None
                if marked is not None:
                    yield Row(marked[1], topic, record, marked[0])
                    continue
            else:
                try:
                    time_ms = (reader.times_ms([record], [value]) or [0])[0]
                except DecodeError as error:
                    checked = error
            if not is_future(record, time_ms, allowed_ms):
                last_ms = time_ms
            yield Row(time_ms, topic, record, checked)

    def release(self, waits: Mapping[int, Waits], *, singly: bool = False) -> list[RecordBatch]:
        """Return what can be processed now, in rounds: within one, each group's pushes come before its events.

        ``singly`` gives each record a batch of its own.
        """
        pushes = self._part.push_topics
        segments = [
            [
                (partition, segment)
                for segment in merge.release(waits.get(partition, _KNOWS_NOTHING), pushes, singly=singly)
            ]
            for partition, merge in self._merges.items()
        ]
        if singly:
            return [self._merged_batch([segment]) for mine in segments for segment in mine]
        rounds = zip_longest(*filter(None, segments))
        return [self._merged_batch([segment for segment in one if segment is not None]) for one in rounds]

    def idle(self, partition: int, waits: Mapping[int, Waits]) -> Collection[str]:
        """Return the topics of which nothing is to be expected for now, and nothing is held, in ``partition``."""
        waited = waits.get(partition, _KNOWS_NOTHING)
        return self._merges[partition].idle(waited) if self.holds else waited.idle

    def _merged_batch(self, segments: Sequence[tuple[int, Segment]]) -> RecordBatch:
        rows = [row for _, segment in segments for row in segment.rows]
        good = [row for row in rows if not isinstance(row.value, RecordError)]
        batch = RecordBatch(
            self._part.name,
            [row.topic for row in good],
            [row.record for row in good],
            [row.value for row in good],
            [row.record.partition() or 0 for row in good],
            [row.time_ms for row in good],
            told_ms=[
                told_ms
                for _, segment in segments
                for row, told_ms in zip(segment.rows, segment.told_ms, strict=True)
                if not isinstance(row.value, RecordError)
            ],
        )
        batch.failures = [Failure(row.record, row.value) for row in rows if isinstance(row.value, RecordError)]
        batch.progress = {
            (topic, partition): progress
            for partition, segment in segments
            for topic, progress in segment.progress.items()
        }
        batch.watermarks = {partition: segment.watermarks for partition, segment in segments}
        return batch

    def backlog(self) -> dict[tuple[str, int], int]:
        """Return how many rows are held back by other topics alone, by topic and partition."""
        return {
            (topic, partition): merge.backlog(topic)
            for partition, merge in self._merges.items()
            for topic in self._part.topics
        }

    def forget(self) -> None:
        """Drop what is held back: its partitions are read again from their committed offsets."""
        self._merges.clear()
        self._next.clear()


_KNOWS_NOTHING = Waits()
