"""Tells readers of regrouped topics how far each partition that feeds them has come."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from streamserve.clock import Clock
from streamserve.dataflow.channels import IDLE_MS, marker_of
from streamserve.dataflow.groups import Group, GroupKey
from streamserve.dataflow.plan import Plan
from streamserve.records import Emission

_INTERVAL_SECONDS = 0.1
"""Readers learn of a new watermark so much later at most, plus the time to the next commit."""


class Announcing:
    """Makes the markers that a commit carries: the watermark of each group that feeds a regrouped topic.

    ``partitions`` has the number of partitions of every topic.
    """

    def __init__(self, plan: Plan, partitions: Mapping[str, int], clock: Clock) -> None:
        self._clock = clock
        self._targets = {
            part.name: [(node.topic, partitions[node.topic]) for node in plan.regrouped_from(part)]
            for part in plan.parts
            if plan.regrouped_from(part)
        }
        self._told: dict[GroupKey, tuple[int, float]] = {}

    def concerns(self, group: Group) -> bool:
        """Return whether anybody wants to know how far ``group`` has come."""
        return group.part.name in self._targets

    def overdue(self, groups: Iterable[Group]) -> bool:
        """Return whether some group has come further than was told."""
        return any(self._news(group) is not None for group in groups)

    def take(self, groups: Iterable[Group]) -> list[Emission]:
        """Return the markers to write now."""
        now = self._clock.monotonic()
        markers: list[Emission] = []
        for group in groups:
            watermark_ms = self._news(group)
            if watermark_ms is None:
                continue
            self._told[group.key] = (watermark_ms, now)
            for topic, partitions in self._targets[group.part.name]:
                markers += [marker_of(topic, target, group.partition, watermark_ms) for target in range(partitions)]
        return markers

    def _news(self, group: Group) -> int | None:
        """Return the watermark to tell of ``group``, or ``None``: readers know, or were told a moment ago."""
        if not self.concerns(group):
            return None
        watermark_ms = IDLE_MS if group.is_idle else group.watermark_ms
        told_ms, told_at = self._told.get(group.key, (None, float("-inf")))
        if watermark_ms is None or watermark_ms == told_ms:
            return None
        return watermark_ms if self._clock.monotonic() - told_at >= _INTERVAL_SECONDS else None
