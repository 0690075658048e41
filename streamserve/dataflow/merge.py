"""Puts the records of several topics of one partition group into order of event time, as far as that is known."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from typing import Any, NamedTuple

from streamserve.records import RawRecord


class Row(NamedTuple):
    """A decoded record with its event time; ``value`` is a ``DecodeError`` where it did not decode."""

    time_ms: int
    topic: str
    record: RawRecord
    value: Any


class EventTimeMerge:
    """Holds records back until no other topic of the group can still have an earlier one.

    A topic that has nothing waiting blocks the others only while it is known to have more on the broker (Kafka Streams'
    rule, KIP-695); once it is caught up they go ahead, so a later record with an earlier time comes out of order. Each
    topic keeps its own order whatever its times say. Ties go in the order in which the topics were declared.

    >>> merge = EventTimeMerge(["a", "b"])
    >>> merge.hold("a", [Row(1, "a", None, "a1"), Row(5, "a", None, "a5")])
    >>> [row.value for row in merge.release(caught_up=[])]
    []
    >>> merge.hold("b", [Row(3, "b", None, "b3")])
    >>> [row.value for row in merge.release(caught_up=[])]
    ['a1', 'b3']
    >>> [row.value for row in merge.release(caught_up=["b"])]
    ['a5']
    """

    def __init__(self, topics: Iterable[str]) -> None:
        self._waiting: dict[str, deque[Row]] = {topic: deque() for topic in topics}

    def hold(self, topic: str, rows: Iterable[Row]) -> None:
        """Add rows of ``topic`` behind those that wait."""
        self._waiting[topic].extend(rows)

    def waiting(self, topic: str) -> int:
        """Return how many rows of ``topic`` are held back."""
        return len(self._waiting[topic])

    def release(self, caught_up: Collection[str]) -> list[Row]:
        """Return, in order, the rows that nothing can precede any more."""
        return list(self._released(caught_up))

    def _released(self, caught_up: Collection[str]) -> Iterator[Row]:
        while True:
            heads = [queue for queue in self._waiting.values() if queue]
            if not heads or any(not queue and topic not in caught_up for topic, queue in self._waiting.items()):
                return
            first = min(heads, key=lambda queue: queue[0].time_ms)
            bound = min((queue[0].time_ms for queue in heads if queue is not first), default=None)
            yield first.popleft()
            while first and (bound is None or first[0].time_ms < bound):
                yield first.popleft()


def cut_at_pushes(rows: Iterable[Row], push_topics: Collection[str]) -> list[list[Row]]:
    """Cut a group's ordered rows into segments that each begin with their pushes.

    >>> rows = [Row(i, topic, None, topic) for i, topic in enumerate("ffwffww")]
    >>> ["".join(row.topic for row in segment) for segment in cut_at_pushes(rows, {"w"})]
    ['ff', 'wff', 'ww']
    """
    segments: list[list[Row]] = []
    pushing = False
    for row in rows:
        is_push = row.topic in push_topics
        if not segments or (is_push and not pushing):
            segments.append([])
        segments[-1].append(row)
        pushing = is_push
    return segments
