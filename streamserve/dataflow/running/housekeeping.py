"""What is done now and then, between two transactions: garbage, lag figures, records that nobody needs any more."""

from __future__ import annotations

import gc
from collections.abc import Iterable

from streamserve.clock import Clock
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.planning.plan import Plan
from streamserve.kafka.consumer import GroupConsumer
from streamserve.observer import Observer

__all__ = ["Housekeeping"]

_EVERY_SECONDS = 1.0
_GARBAGE_SECONDS = 10.0
_DELETE_SECONDS = 30.0
_RECOMMIT_SECONDS = 24 * 3600.0
"""Committed offsets of idle partitions expire after ``offsets.retention.minutes`` (7 days): renewed well before."""


class Housekeeping:
    """Knows what is due.

    After each transaction garbage is collected, if it is time, and ``is_due`` asked; all else is for when it says so.
    """

    def __init__(self, plan: Plan, consumer: GroupConsumer, clock: Clock, observer: Observer) -> None:
        self._plan = plan
        self._consumer = consumer
        self._clock = clock
        self._observer = observer
        self._kept = self._collected = clock.monotonic()
        self._deleted = self._kept - _DELETE_SECONDS  # so soon: who starts again all the time must delete as well

    def is_due(self) -> bool:
        """Return whether a second has passed since this last said so."""
        now = self._clock.monotonic()
        if now - self._kept < _EVERY_SECONDS:
            return False
        self._kept = now
        return True

    def put_off(self) -> None:
        """Let the second begin anew."""
        self._kept = self._clock.monotonic()

    def collect_garbage(self) -> None:
        """Run Python's collector if it has not run for a while: it is off otherwise."""
        now = self._clock.monotonic()
        if now - self._collected > _GARBAGE_SECONDS:
            gc.collect()
            self._collected = now

    def report_lag(self, groups: Iterable[Group]) -> None:
        """Tell the observer how many records wait behind each position."""
        for group in groups:
            positions = group.positions
            for key in group.inputs:
                end = self._consumer.end(key)
                if end is not None:
                    self._observer.lag(*key, max(0, end - positions.get(key, 0)))

    def delete_regrouped(self, groups: Iterable[Group]) -> None:
        """Let the broker delete what was read of internal topics, as Kafka Streams does: nobody else reads them.

        Only what is committed may go: to be called while no transaction is open.
        """
        now = self._clock.monotonic()
        if now - self._deleted < _DELETE_SECONDS:
            return
        self._deleted = now
        topics = self._plan.topics
        done = {
            key: position
            for group in groups
            for key, position in group.positions.items()
            if topics[key[0]].upstream is not None
        }
        if done:
            self._consumer.delete_before(done)

    def expiring(self, groups: Iterable[Group]) -> list[Group]:
        """Return the groups whose offsets were not committed for so long that the broker may forget them."""
        now = self._clock.monotonic()
        return [
            group
            for group in groups
            if group.progress and group.committed_at and now - group.committed_at > _RECOMMIT_SECONDS
        ]
