"""From polled records to batches: decode, read event times, and put the topics of one part in order."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from itertools import zip_longest
from operator import attrgetter
from typing import Any

from streamserve.codecs.base import ValueCodec
from streamserve.dataflow.batch import Failure, RecordBatch, column_of
from streamserve.dataflow.merge import EventTimeMerge, Row, cut_at_pushes
from streamserve.dataflow.plan import Part, TopicNode
from streamserve.errors import DecodeError
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
        self._time_of = _time_getter(node) if needs_time else None

    @property
    def has_times(self) -> bool:
        """Return whether event times are read."""
        return self._time_of is not None

    def decode(self, records: Sequence[RawRecord]) -> list[Any]:
        """Return each record's value, or its ``DecodeError``."""
        return self._decode(column_of(records, "value"))

    def times_ms(self, records: Sequence[RawRecord], values: Sequence[Any]) -> list[int] | None:
        """Return event times in milliseconds; the record's own timestamp where the topic declares no field.

        Raises:
            DecodeError: the event-time function failed or gave no datetime for some record.
        """
        if self._time_of is None:
            return None
        if self.node.event_time is None:
            return [timestamp for _, timestamp in column_of(records, "timestamp")]
        return [self._time_ms(value) for value in values]

    def _time_ms(self, value: Any) -> int:
        if self._time_of is None:
            raise AssertionError("times are not read here")
        try:
            instant = self._time_of(value)
        except Exception as error:
            text = f"topic {self.node.name!r}: the event-time function raised {type(error).__name__}"
            raise DecodeError(text) from error
        if isinstance(instant, datetime):
            return to_epoch_ms(instant)
        if isinstance(instant, int):
            return instant
        raise DecodeError(
            f"topic {self.node.name!r}: event time must be a datetime (or int milliseconds),"
            f" not {type(instant).__name__}"
        )


def _time_getter(node: TopicNode) -> Callable[[Any], Any]:
    if isinstance(node.event_time, str):
        return attrgetter(node.event_time)
    return node.event_time or (lambda value: value)


class Intake:
    """Turns the polled records of one part into batches."""

    def __init__(self, part: Part, readers: Mapping[str, TopicReader]) -> None:
        self._part = part
        self._readers = readers
        self._merges: dict[int, EventTimeMerge] = {}

    @property
    def part(self) -> Part:
        """Return the part whose topics this takes in."""
        return self._part

    def take(self, topic: str, records: list[RawRecord]) -> list[RecordBatch]:
        """Take records of ``topic``; a part of one topic gives them back at once, others hold them for ``release``."""
        values = self._readers[topic].decode(records)
        if not self._part.merges:
            return [self._batch(topic, records, values)]
        rows = self._rows(topic, records, values)
        for row in rows:
            partition = row.record.partition() or 0
            self._merge(partition).hold(topic, [row])
        return []

    def _batch(self, topic: str, records: Sequence[RawRecord], values: list[Any]) -> RecordBatch:
        partitions: list[int] = column_of(records, "partition")
        batch = RecordBatch(self._part.name, topic, records, values, partitions)
        batch.positions = {(topic, run.partition): (records[run.stop - 1].offset() or 0) + 1 for run in batch.runs()}
        if DecodeError not in set(map(type, values)):
            try:
                batch.times_ms = self._readers[topic].times_ms(records, values)
            except DecodeError:
                self._sift(topic, batch)
        else:
            self._sift(topic, batch)
        return batch

    def _sift(self, topic: str, batch: RecordBatch) -> None:
        """Move the records that do not decode, or have no time, to the batch's failures."""
        reader = self._readers[topic]
        rows: list[int] = []
        times: list[int] = []
        failures: list[Failure] = []
        for row, (record, value) in enumerate(zip(batch.records, batch.values, strict=True)):
            try:
                if isinstance(value, DecodeError):
                    raise value
                times += reader.times_ms([record], [value]) or ()
                rows.append(row)
            except DecodeError as error:
                failures.append(Failure(record, error))
        kept = batch.take(rows)
        batch.records, batch.values, batch.partitions = kept.records, kept.values, kept.partitions
        batch.times_ms = times if reader.has_times else None
        batch.failures = failures

    def _rows(self, topic: str, records: Sequence[RawRecord], values: Sequence[Any]) -> list[Row]:
        """Return rows with times; a record without one takes the time of the row before it."""
        reader = self._readers[topic]
        rows: list[Row] = []
        last_ms = 0
        for record, value in zip(records, values, strict=True):
            checked = value
            if not isinstance(value, DecodeError):
                try:
                    last_ms = (reader.times_ms([record], [value]) or [0])[0]
                except DecodeError as error:
                    checked = error
            rows.append(Row(last_ms, topic, record, checked))
        return rows

    def _merge(self, partition: int) -> EventTimeMerge:
        if partition not in self._merges:
            self._merges[partition] = EventTimeMerge(self._part.topics)
        return self._merges[partition]

    def release(self, caught_up: Mapping[int, Collection[str]]) -> list[RecordBatch]:
        """Return what can be processed now, in rounds: within one, each group's pushes come before its events.

        ``caught_up`` names, for each partition, the topics that have nothing more on the broker.
        """
        released = [merge.release(caught_up.get(part, ())) for part, merge in self._merges.items()]
        segments = [cut_at_pushes(rows, self._part.push_topics) for rows in released if rows]
        rounds = zip_longest(*segments, fillvalue=[])
        return [self._merged_batch([row for segment in segments for row in segment]) for segments in rounds]

    def _merged_batch(self, rows: Sequence[Row]) -> RecordBatch:
        positions = {(row.topic, row.record.partition() or 0): (row.record.offset() or 0) + 1 for row in rows}
        good = [row for row in rows if not isinstance(row.value, DecodeError)]
        return RecordBatch(
            self._part.name,
            [row.topic for row in good],
            [row.record for row in good],
            [row.value for row in good],
            [row.record.partition() or 0 for row in good],
            [row.time_ms for row in good],
            positions,
            [Failure(row.record, row.value) for row in rows if isinstance(row.value, DecodeError)],
        )

    def held(self) -> dict[tuple[str, int], int]:
        """Return how many rows are held back, by topic and partition."""
        return {
            (topic, partition): merge.waiting(topic)
            for partition, merge in self._merges.items()
            for topic in self._part.topics
        }

    def forget(self) -> None:
        """Drop what is held back: its partitions are read again from their committed offsets."""
        self._merges.clear()
