"""Takes a batch through the dataflow in pieces where what happens between two of its records matters.

Timers of tables fire where the watermark, as it moves record by record, passes them. Agents that share a table take
turns at each record. Both would come out differently with every cut of the input into batches, so a batch is cut where
they say. Nothing is committed between the pieces of a batch: its progress is that of all of them.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from itertools import accumulate
from typing import Any, NamedTuple, cast

from streamserve.dataflow.batch import NEVER, RecordBatch, column_of
from streamserve.dataflow.owning.groups import Group, newest_by_partition
from streamserve.dataflow.planning.joining import topics_read
from streamserve.dataflow.planning.plan import GroupKey, Part, Plan
from streamserve.state.table import TableState

__all__ = ["Pieces"]


class _Turn(NamedTuple):
    """Which of the agents that must take turns read a topic: the first and the last of them, in their order."""

    first: int
    last: int


class Pieces:
    """Cuts batches, and moves the watermarks of ``groups`` with the pieces.

    ``begin`` with a batch; then, while it ``is_open``, take the ``next`` piece. A batch of a part that has neither
    timers by event time nor tables that agents share is one piece.
    """

    def __init__(self, plan: Plan, groups: Mapping[GroupKey, Group]) -> None:
        self._groups = groups
        self._late_ms = {name: node.max_out_of_orderness_ms for name, node in plan.topics.items()}
        self._dated = {part.name for part in plan.parts if _needs_dates(part, plan)}
        self._timed = {part.name: _timed(part, plan) for part in plan.parts}
        self._turns = {part.name: _turns(part, plan) for part in plan.parts}
        self._batch: RecordBatch | None = None
        self._place = 0
        self._keys: list[bytes | None] = []

    @property
    def is_open(self) -> bool:
        """Return whether some of a batch is still to come."""
        return self._batch is not None

    def begin(self, batch: RecordBatch) -> list[GroupKey]:
        """Take ``batch``, and let time come to its first rows; return the groups whose timers that may make due."""
        self._batch, self._place = batch, 0
        if batch.part in self._dated:
            _date(batch, self._groups, 0 if not isinstance(batch.topics, str) else self._late_ms[batch.topics])
        if self._turns[batch.part]:
            self._keys = column_of(batch.records, "key")
        return self._come(batch, 0) if self._timed[batch.part] else []

    def next(self) -> RecordBatch:
        """Return the next piece; the watermarks of its groups are those of its end."""
        if self._batch is None:
            raise AssertionError("no batch is open")
        batch, start, stop = self._batch, self._place, self._cut(self._batch, self._place)
        if stop == len(batch):
            self._end(batch)
            return batch if not start else batch.piece(start, stop)
        self._place = stop
        self._come(batch, stop)
        return batch.piece(start, stop)

    def _end(self, batch: RecordBatch) -> None:
        """Let time come to where ``batch`` leaves it."""
        self._batch = None
        for partition, watermarks in (batch.watermarks or self._watermarks(batch)).items():
            self._groups[batch.part, partition].see(watermarks)

    def _watermarks(self, batch: RecordBatch) -> dict[int, dict[str, int]]:
        return {
            partition: {topic: time_ms - self._late_ms[topic] for topic, time_ms in newest.items()}
            for partition, newest in newest_by_partition(batch).items()
        }

    def _come(self, batch: RecordBatch, place: int) -> list[GroupKey]:
        """Let time come to the next row of each partition, from ``place`` on; return their groups."""
        reached = batch.reached_ms or ()
        came: dict[int, int] = {}
        for partition, start, stop in batch.runs():
            if stop > place and partition not in came:
                came[partition] = reached[max(start, place)]
        keys = [(batch.part, partition) for partition in came] if reached else []
        for key in keys:
            self._groups[key].come_to(came[key[1]])
        return keys

    def _cut(self, batch: RecordBatch, start: int) -> int:
        """Return the place behind the last row that may go through together with the one at ``start``."""
        stop = len(batch)
        if tables := self._timed[batch.part]:
            stop = self._first_due(batch, start, tables)
        if turns := self._turns[batch.part]:
            stop = self._first_out_of_turn(batch, start, stop, turns)
        return min(max(stop, start + 1), len(batch))

    def _first_due(self, batch: RecordBatch, start: int, tables: Sequence[str]) -> int:
        """Return the place of the first row before which a timer fires."""
        reached, stop = batch.reached_ms or (), len(batch)
        for partition, first, last in batch.runs():
            group, low = self._groups[batch.part, partition], max(first, start)
            if low >= last:
                continue
            set_for = [cast("TableState[Any]", group.tables[name]).next_timer("event") for name in tables]
            next_ms = min((at_ms for at_ms in set_for if at_ms is not None), default=None)
            if next_ms is not None and (place := bisect_left(reached, next_ms, low, last)) < last:
                stop = min(place, stop)
        return stop

    def _first_out_of_turn(self, batch: RecordBatch, start: int, stop: int, turns: Mapping[str, _Turn]) -> int:
        """Return the place of the first row that an agent has to see before another is done with its key."""
        topics, keys = batch.topics, self._keys
        done: dict[bytes, int] = {}
        for place in range(start, stop):
            key, turn = keys[place], turns.get(topics if isinstance(topics, str) else topics[place])
            if key is None or turn is None:
                continue
            if turn.first < done.get(key, 0):
                return place
            done[key] = turn.last
        return stop


def _date(batch: RecordBatch, groups: Mapping[GroupKey, Group], late_ms: int) -> None:
    """Note how far time has come as the turn of each row comes.

    Rows that were neither merged nor sorted tell it themselves: the newest time before each, less what may be late.
    """
    come, reached = dict[int, int](), list[int]()
    times, told = batch.times_ms or (), batch.told_ms
    for partition, start, stop in batch.runs():
        watermark_ms = groups[batch.part, partition].watermark_ms
        before_ms = come.get(partition, NEVER if watermark_ms is None else watermark_ms)
        if told is not None:
            own = list(accumulate(told[start:stop], max, initial=before_ms))
            reached += own[1:]
        else:
            own = [time_ms - late_ms for time_ms in accumulate(times[start:stop], max, initial=before_ms + late_ms)]
            reached += own[:-1]
        come[partition] = own[-1]
    batch.reached_ms = reached


def _needs_dates(part: Part, plan: Plan) -> bool:
    """Return whether the part has anything that time ends or makes due."""
    tables = [plan.tables[name] for name in part.tables]
    return part.needs_order or any(table.ttl_ms is not None or table.timer("event") is not None for table in tables)


def _timed(part: Part, plan: Plan) -> list[str]:
    """Return the tables of ``part`` that have timers by event time."""
    return [name for name in part.tables if plan.tables[name].timer("event") is not None]


def _turns(part: Part, plan: Plan) -> dict[str, _Turn]:
    """Return, by topic, the agents that must see each record of a key before any of them sees the next.

    Those are the agents that share a table, and any that sets timers, which may be due before the key's next record.
    """
    timed = set(_timed(part, plan))
    shared = {name for name in part.tables if sum(name in agent.tables for agent in part.agents) > 1}
    agents = [agent for agent in part.agents if (shared | timed).intersection(agent.tables)]
    turns: dict[str, _Turn] = {}
    for place, agent in enumerate(agents):
        last = len(agents) if timed.intersection(agent.tables) else place
        for topic in topics_read(agent.sources, plan.joins):
            before = turns.get(topic, _Turn(place, last))
            turns[topic] = _Turn(0 if last == len(agents) else before.first, max(before.last, last))
    return {topic: turn for topic, turn in turns.items() if len(agents) > 1 or turn.last}
