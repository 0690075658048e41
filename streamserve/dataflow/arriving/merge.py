"""Puts the records of several topics of one partition group into order of event time, as far as that is known."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from typing import NamedTuple

from streamserve.dataflow.arriving.arrivals import Arrivals, Row
from streamserve.dataflow.batch import NEVER
from streamserve.kafka.marks import Progress


class Waits(NamedTuple):
    """What is known of topics that have nothing more on the broker just now.

    ``caught_up`` are they; ``idle`` those of them that have been silent for so long that nothing older is expected.
    """

    caught_up: Collection[str] = ()
    idle: Collection[str] = ()


class Segment(NamedTuple):
    """Rows of one group in order, its pushes first, and how far each of its topics has come with them.

    ``told_ms`` has, for each row, the time before which everything of the group is in as its turn comes, ``watermarks``
    that of each topic at the end, in milliseconds.
    """

    rows: list[Row]
    told_ms: list[int]
    progress: Mapping[str, Progress]
    watermarks: Mapping[str, int]


class EventTimeMerge:
    """Holds rows back until no other topic of the group can still have an earlier one.

    A topic that has nothing waiting blocks the others only while it is known to have more on the broker (Kafka Streams'
    rule, KIP-695); once it is caught up they go ahead, so a later record with an earlier time comes out of order. One
    whose rows wait for their time to be sure blocks what is later than the earliest that may still come. Ties go in the
    order in which the topics were declared. Rows that are urgent, such as late ones, go before all.
    """

    def __init__(self, arrivals: Mapping[str, Arrivals]) -> None:
        self._arrivals = arrivals
        self._told: Mapping[str, int] = {}

    def hold(self, rows: Iterable[Row]) -> None:
        """Add rows, of each topic in the order of the log."""
        for row in rows:
            self._arrivals[row.topic].hold(row)

    def backlog(self, topic: str) -> int:
        """Return how many rows of ``topic`` are held back by others alone."""
        return self._arrivals[topic].backlog()

    def idle(self, waits: Waits) -> set[str]:
        """Return the topics of which nothing is held and nothing is to be expected for now."""
        return {topic for topic, arrivals in self._arrivals.items() if arrivals.is_idle(silent=topic in waits.idle)}

    def release(self, waits: Waits, push_topics: Collection[str] = (), *, singly: bool = False) -> list[Segment]:
        """Return the rows that nothing can precede any more, cut into segments that each begin with their pushes.

        ``singly`` cuts after each row, but for urgent ones, which count as done together.
        """
        return list(self._segments(waits, push_topics, singly=singly))

    def _segments(self, waits: Waits, push_topics: Collection[str], *, singly: bool) -> Iterator[Segment]:
        rows: list[Row] = []
        told: list[int] = []
        turns = _Turns(self._arrivals, self.idle(waits))
        pushing = False
        while (topic := self._next(waits)) is not None:
            is_push = topic in push_topics
            is_cut = singly or (is_push and not pushing)
            if rows and is_cut and not self._arrivals[topic].is_urgent:
                yield self._segment(rows, told)
                rows, told = [], []
            told.append(turns.told_ms(topic))
            rows.append(self._arrivals[topic].pop())
            turns.popped(topic)
            pushing = is_push
        if rows or self._watermarks() != self._told:
            yield self._segment(rows, told)

    def _segment(self, rows: list[Row], told_ms: list[int]) -> Segment:
        self._told, told = self._watermarks(), self._told
        moved = {topic for topic, watermark in self._told.items() if watermark != told.get(topic)}
        progress = {topic: self._arrivals[topic].progress() for topic in moved.union(row.topic for row in rows)}
        return Segment(rows, told_ms, progress, self._told)

    def _watermarks(self) -> dict[str, int]:
        found = {topic: arrivals.watermark_ms() for topic, arrivals in self._arrivals.items()}
        return {topic: watermark for topic, watermark in found.items() if watermark is not None}

    def _next(self, waits: Waits) -> str | None:
        """Return the topic whose row is next, or ``None`` where it is not known yet."""
        for topic, arrivals in self._arrivals.items():
            if arrivals.is_urgent:
                return topic
        first: str | None = None
        first_ms = bound_ms = 1 << 62
        for topic, arrivals in self._arrivals.items():
            head_ms = arrivals.head_ms(idle=topic in waits.idle)
            if head_ms is not None:
                if head_ms < first_ms:
                    first, first_ms = topic, head_ms
            elif (may_come_ms := arrivals.bound_ms()) is not None:
                bound_ms = min(bound_ms, may_come_ms)
            elif topic not in waits.caught_up:
                return None
        return first if first_ms <= bound_ms else None


class _Turns:
    """Tells up to when everything of the group is in as a row's turn comes; topics that are ``idle`` do not count."""

    def __init__(self, arrivals: Mapping[str, Arrivals], idle: Collection[str]) -> None:
        self._arrivals = arrivals
        self._others = [topic for topic in arrivals if topic not in idle] if len(arrivals) > 1 else ()
        self._known_ms = {topic: self._watermark_ms(topic) for topic in self._others}

    def _watermark_ms(self, topic: str) -> int:
        watermark_ms = self._arrivals[topic].watermark_ms()
        return NEVER if watermark_ms is None else watermark_ms

    def told_ms(self, topic: str) -> int:
        """Return it for the next row of ``topic``; ``NEVER`` while some topic has told nothing."""
        own_ms = self._arrivals[topic].turn_ms()
        return min([own_ms, *(self._known_ms[other] for other in self._others if other != topic)])

    def popped(self, topic: str) -> None:
        """Take note that this row is popped."""
        if self._others:
            self._known_ms[topic] = self._watermark_ms(topic)
