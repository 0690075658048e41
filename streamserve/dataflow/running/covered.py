"""What the open transaction covers, for the figures that its commit tells."""

from __future__ import annotations

from collections.abc import Collection

from streamserve.clock import Clock
from streamserve.dataflow.batch import RecordBatch
from streamserve.observer import Observer

__all__ = ["Covered"]

_SAMPLES = 32
"""Delays of a transaction that are told at most; 8 of each batch, so that a late batch shows as well."""
_SAMPLES_OF_BATCH = 8


class Covered:
    """Counts the records of the open transaction, and samples when they were written.

    Records of the topics ``dated`` carry event times, which tell nothing of how long anybody waited: of them none is
    sampled.

    >>> from streamserve.clock import ManualClock
    >>> covered = Covered(ManualClock())
    >>> covered.add(RecordBatch("part", "in", [], [], []))
    >>> covered.records
    0
    """

    def __init__(self, clock: Clock, dated: Collection[str] = ()) -> None:
        self._clock = clock
        self._dated = frozenset(dated)
        self.records = 0
        """Records so far, those included that did not decode."""
        self._written_ms: list[int] = []

    def add(self, batch: RecordBatch) -> None:
        """Let ``batch`` be part of the transaction."""
        self.records += len(batch) + len(batch.failures)
        if len(self._written_ms) < _SAMPLES:
            step = max(1, len(batch) // _SAMPLES_OF_BATCH)
            sampled = batch.records[::step]
            self._written_ms += [record.timestamp()[1] for record in sampled if record.topic() not in self._dated]

    def tell(self, observer: Observer, seconds: float) -> None:
        """Tell ``observer`` that everything so far is committed, for which closing took ``seconds``; begin anew."""
        observer.committed(self.records, seconds)
        now_ms = self._clock.now_ms()
        observer.latencies([(now_ms - written_ms) / 1000 for written_ms in self._written_ms])
        self.records, self._written_ms = 0, []
