"""Pairs events of two topics before agents see them."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, cast

from streamserve.codecs.base import ValueCodec
from streamserve.dataflow.batch import RecordBatch, Run
from streamserve.dataflow.buffered import UNREAD, Buffered, BufferedRecord, buffered, payload_of
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.nodes import JoinNode
from streamserve.dataflow.planning.plan import GroupKey, part_name
from streamserve.errors import ConfigurationError, DecodeError
from streamserve.records import RawRecord
from streamserve.state.joins import LONELY, Side, StreamJoin


class JoinStep:
    """Takes the batches of a part to batches of pairs, for the agents that read the join.

    A pair is a tuple of the two events; where one stayed alone, the other is ``None``. Its record is the one that
    completed it, or that stayed alone, its time the later of the two. Pairs come in the order in which they are formed,
    per partition; rows that stay alone come between them, where the watermark, as it moves record by record, has passed
    them by the bound. A record without a key has no partner: it is alone at once.
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
        """Take in ``batch``; return the pairs that it completes and what stayed alone, in order: at most one batch.

        Raises:
            ConfigurationError: a row kept by an earlier release of the app does not fit its topic's type.
        """
        pairs: list[_Pair] = []
        for run in batch.runs():
            pairs += self._joined(self._state(batch.part, run.partition), run.partition, self._rows(batch, run))
        for partition in sorted({partition for _, partition in batch.progress} or set(batch.partitions)):
            watermark_ms = self._groups()[batch.part, partition].watermark_ms
            if watermark_ms is not None:
                pairs += self._expired(self._state(batch.part, partition), partition, watermark_ms)
        return [self._batch(batch.part, pairs)] if pairs else []

    def _joined(self, state: StreamJoin, partition: int, rows: Sequence[_Row]) -> list[_Pair]:
        """Take in ``rows``, and let time come to each before its turn where some row can match no more by then."""
        pairs: list[_Pair] = []
        content = buffered([row.record for row in rows], [row.value for row in rows])
        start, oldest_ms, within_ms = 0, _oldest_ms(state), state.within_ms
        for place, row in enumerate(rows):
            if row.reached_ms - within_ms > oldest_ms:
                pairs += self._formed(state, partition, rows[start:place], content[start:place])
                pairs += self._expired(state, partition, row.reached_ms)
                start, oldest_ms = place, _oldest_ms(state)
            if row.time_ms < oldest_ms:  # noqa: PLR1730 - min() costs a call for each row
                oldest_ms = row.time_ms
        pairs += self._formed(state, partition, rows[start:], content[start:])
        return pairs

    def _formed(
        self, state: StreamJoin, partition: int, rows: Sequence[_Row], content: Sequence[Buffered]
    ) -> Iterator[_Pair]:
        """Take in ``rows``; yield the pairs that they complete, and those that nothing can complete."""
        if None not in [row.key for row in rows]:
            yield from self._paired(state, partition, rows, content)
            return
        for row, kept in zip(rows, content, strict=True):
            if row.key is not None:
                yield from self._paired(state, partition, [row], [kept])
            elif row.side in LONELY[state.kind]:
                yield self._alone(row.side, None, partition, row.time_ms, kept, row.reached_ms)

    def _paired(
        self, state: StreamJoin, partition: int, rows: Sequence[_Row], content: Sequence[Buffered]
    ) -> Iterator[_Pair]:
        sides: list[Side] = [row.side for row in rows]
        keys, times = [row.key or b"" for row in rows], [row.time_ms for row in rows]
        for pair in state.join(sides, keys, times, content):
            value, row = (self._event("left", pair.left), self._event("right", pair.right)), rows[pair.position]
            yield _Pair(row.record, value, partition, max(pair.left_ms, pair.right_ms), row.reached_ms)

    def _expired(self, state: StreamJoin, partition: int, watermark_ms: int) -> Iterator[_Pair]:
        """Yield the rows that can find no partner any more."""
        for row in state.expire(watermark_ms):
            yield self._alone(row.side, row.key, partition, row.time_ms, row.payload, watermark_ms)

    def _alone(self, side: Side, key: bytes | None, partition: int, time_ms: int, row: bytes, reached_ms: int) -> _Pair:
        event = self._event(side, row)
        value = (event, None) if side == "left" else (None, event)
        return _Pair(BufferedRecord(self._topics[side], partition, key, row), value, partition, time_ms, reached_ms)

    def _rows(self, batch: RecordBatch, run: Run) -> list[_Row]:
        """Return the rows of ``run`` that are of one of both topics."""
        span = slice(run.start, run.stop)
        topics = [batch.topics] * (run.stop - run.start) if isinstance(batch.topics, str) else batch.topics[span]
        records, values, times = batch.records[span], batch.values[span], (batch.times_ms or ())[span]
        reached = (batch.reached_ms or ())[span]
        return [
            _Row(self._sides[topic], record.key(), record, value, time_ms, reached_ms)
            for topic, record, value, time_ms, reached_ms in zip(topics, records, values, times, reached, strict=True)
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
        records, values, partitions, times, reached = zip(*pairs, strict=True)
        return RecordBatch(part, self._node.name, records, values, partitions, times, reached_ms=reached)


def _oldest_ms(state: StreamJoin) -> float:
    return math.inf if state.oldest_ms is None else state.oldest_ms


class _Row(NamedTuple):
    """A row of one of both topics."""

    side: Side
    key: bytes | None
    record: RawRecord
    value: Any
    time_ms: int
    reached_ms: int


class _Pair(NamedTuple):
    """What is told of a pair: the record that completed it, both events, partition, time, and how far time had come."""

    record: RawRecord
    value: tuple[Any, Any]
    partition: int
    time_ms: int
    reached_ms: int
