"""Tells readers of regrouped topics how far each partition that feeds them has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from streamserve.clock import Clock
from streamserve.dataflow.arriving.channels import IDLE_MS, marker_of
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.records import Emission

_INTERVAL_SECONDS = 0.1
"""Readers are told no more often; they learn of a new watermark with the next commit after it, or within a second."""


class _Told(NamedTuple):
    """What readers know of a group since the time ``at``, on the monotonic clock; ``positions`` is how far it was."""

    watermark_ms: int | None
    idle: bool
    at: float
    positions: Mapping[TopicPartitionKey, int]


_NOTHING_TOLD = _Told(None, idle=False, at=float("-inf"), positions={})


class Announcing:
    """Makes the markers that a commit carries: the watermark of each group that feeds a regrouped topic.

    ``partitions`` has the number of partitions of every topic.
    """

    def __init__(self, plan: Plan, partitions: Mapping[str, int], clock: Clock) -> None:
        self._clock = clock
        self._targets = {
            part.name: [(topic, partitions[topic]) for topic in plan.fed_by(part)]
            for part in plan.parts
            if plan.fed_by(part)
        }
        self._told: dict[GroupKey, _Told] = {}

    def concerns(self, group: Group) -> bool:
        """Return whether anybody wants to know how far ``group`` has come."""
        return group.part.name in self._targets

    def overdue(self, groups: Iterable[Group]) -> bool:
        """Return whether some group has come further than was told."""
        return any(self._news(group) for group in groups)

    def take(self, groups: Iterable[Group]) -> list[Emission]:
        """Return the markers to write now."""
        markers: list[Emission] = []
        if not self._targets:
            return markers
        now = self._clock.monotonic()
        for group in groups:
            news = self._news(group)
            if not news:
                continue
            self._told[group.key] = _Told(group.watermark_ms, group.is_idle, now, group.positions)
            for topic, partitions in self._targets[group.part.name]:
                markers += [
                    marker_of(topic, target, group.partition, time_ms)
                    for target in range(partitions)
                    for time_ms in news
                ]
        return markers

    def _news(self, group: Group) -> list[int]:
        """Return what to tell of ``group``, in order; nothing if readers know, or were told a moment ago.

        One that is idle tells how far it has come before: readers wait for it no more, but go on from there. It tells
        it again after each record, with which it speaks.
        """
        if not self.concerns(group):
            return []
        told = self._told.get(group.key, _NOTHING_TOLD)
        if self._clock.monotonic() - told.at < _INTERVAL_SECONDS:
            return []
        watermark_ms, is_idle = group.watermark_ms, group.is_idle
        speaks_again = told.idle and not is_idle
        news = (
            [] if watermark_ms is None or (watermark_ms == told.watermark_ms and not speaks_again) else [watermark_ms]
        )
        goes_idle = is_idle and (news or not told.idle or told.positions != group.positions)
        return [*news, IDLE_MS] if goes_idle else news
