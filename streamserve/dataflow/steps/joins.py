"""Pairs events of two topics before agents see them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from streamserve.codecs.base import ValueCodec
from streamserve.dataflow.batch import RecordBatch, Run
from streamserve.dataflow.buffered import UNREAD, Buffered, BufferedRecord, buffered, payload_of
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import GroupKey, JoinNode, part_name
from streamserve.errors import ConfigurationError, DecodeError
from streamserve.records import RawRecord
from streamserve.state.joins import LONELY, Side, StreamJoin


class JoinStep:
    """Takes the batches of a part to batches of pairs, for the agents that read the join.

    A pair is a tuple of the two events; where one stayed alone, the other is ``None``. Its record is the one that
    completed it, or that stayed alone, its time the later of the two. Pairs come in the order in which they are formed,
    per partition; rows that stay alone follow once the watermark has passed them by the bound. A record without a key
    has no partner: it is alone at once.
    """

    def __init__(
        self,
        node: JoinNode,
        codecs: Mapping[str, ValueCodec[Any]],
        groups: Callable[[], Mapping[GroupKey, Group]],
    ) -> None:
        self.name = f"join-{part_name(node.name)}"
        self._node = node
        self._groups = groups
        self._sides: Mapping[str, Side] = {node.left: "left", node.right: "right"}
        self._topics: Mapping[Side, str] = {"left": node.left, "right": node.right}
        self._codecs = codecs

    def __call__(self, batch: RecordBatch) -> list[RecordBatch]:
        """Take in ``batch``; return the pairs that it completes, then what stayed alone: up to two batches.

        Raises:
            ConfigurationError: a row kept by an earlier release of the app does not fit its topic's type.
        """
        formed: list[_Pair] = []
        alone: list[_Pair] = []
        for run in batch.runs():
            rows = self._rows(batch, run)
            formed += self._formed(batch.part, run.partition, [row for row in rows if row.key is not None])
            alone += self._keyless(run.partition, [row for row in rows if row.key is None])
        for partition in sorted({partition for _, partition in batch.progress} or set(batch.partitions)):
            alone += self._expired(batch.part, partition)
        return [self._batch(batch.part, pairs) for pairs in (formed, alone) if pairs]

    def _formed(self, part: str, partition: int, rows: Sequence[_Row]) -> Iterator[_Pair]:
        """Take in ``rows``; yield the pairs that they complete."""
        content = buffered([row.record for row in rows], [row.value for row in rows])
        sides: list[Side] = [row.side for row in rows]
        keys, times = [row.key or b"" for row in rows], [row.time_ms for row in rows]
        for pair in self._state(part, partition).join(sides, keys, times, content):
            value = self._event("left", pair.left), self._event("right", pair.right)
            yield _Pair(rows[pair.position].record, value, partition, max(pair.left_ms, pair.right_ms))

    def _keyless(self, partition: int, rows: Sequence[_Row]) -> Iterator[_Pair]:
        """Yield the rows that nothing can complete, of the sides that come out alone."""
        lone_rows = [row for row in rows if row.side in LONELY[self._node.kind]]
        content = buffered([row.record for row in lone_rows], [row.value for row in lone_rows])
        for row, kept in zip(lone_rows, content, strict=True):
            yield self._alone(row.side, None, partition, row.time_ms, kept)

    def _expired(self, part: str, partition: int) -> Iterator[_Pair]:
        """Yield the rows that can find no partner any more."""
        watermark = self._groups()[part, partition].watermark_ms
        for row in [] if watermark is None else self._state(part, partition).expire(watermark):
            yield self._alone(row.side, row.key, partition, row.time_ms, row.payload)

    def _alone(self, side: Side, key: bytes | None, partition: int, time_ms: int, row: bytes) -> _Pair:
        event = self._event(side, row)
        value = (event, None) if side == "left" else (None, event)
        return _Pair(BufferedRecord(self._topics[side], partition, key, row), value, partition, time_ms)

    def _rows(self, batch: RecordBatch, run: Run) -> list[_Row]:
        """Return the rows of ``run`` that are of one of both topics."""
        span = slice(run.start, run.stop)
        topics = [batch.topics] * (run.stop - run.start) if isinstance(batch.topics, str) else batch.topics[span]
        records, values, times = batch.records[span], batch.values[span], (batch.times_ms or ())[span]
        return [
            _Row(self._sides[topic], record.key(), record, value, time_ms)
            for topic, record, value, time_ms in zip(topics, records, values, times, strict=True)
            if topic in self._sides
        ]

    def _state(self, part: str, partition: int) -> StreamJoin:
        return cast("StreamJoin", self._groups()[part, partition].tables[self._node.name])

    def _event(self, side: Side, row: bytes) -> Any:
        """Return the event of a row, decoded once after a restore."""
        kept = cast("Buffered", row)
        if kept.value is UNREAD:
            topic = self._topics[side]
            (value,) = self._codecs[topic].decode_many([payload_of(row)])
            if isinstance(value, DecodeError):
                raise ConfigurationError(
                    f"join {self._node.name!r}: a buffered row of topic {topic!r} does not fit the topic's type any"
                    " more: give what is new a default, or give the join another name= to begin anew"
                ) from value
            kept.value = value
        return kept.value

    def _batch(self, part: str, pairs: Sequence[_Pair]) -> RecordBatch:
        records, values, partitions, times = zip(*pairs, strict=True)
        return RecordBatch(part, self._node.name, records, values, partitions, times)


class _Row(NamedTuple):
    """A row of one of both topics."""

    side: Side
    key: bytes | None
    record: RawRecord
    value: Any
    time_ms: int


class _Pair(NamedTuple):
    """What is told of a pair: the record that completed it, both events, partition and time."""

    record: RawRecord
    value: tuple[Any, Any]
    partition: int
    time_ms: int
