"""The clock of every measured program: from its first commit to its last, over what was committed between."""

from __future__ import annotations

import resource
import time
from collections.abc import Callable

import msgspec


class Measurement(msgspec.Struct, frozen=True, kw_only=True):
    """What one process did: records and commits after its first commit, in seconds of wall and processor time."""

    records: int
    commits: int
    seconds: float
    cpu_seconds: float

    @property
    def per_second(self) -> float:
        """Records a second of wall-clock time."""
        return self.records / self.seconds

    @property
    def cpu_microseconds(self) -> float:
        """Processor time for each record, of all threads of the process."""
        return self.cpu_seconds / self.records * 1e6


class Meter:
    """Counts commits until ``goal`` records are committed in all; later ones are left out.

    The first commit starts the clock, and its records do not count: joining the group, connecting and the first fetch
    belong to no steady state.

    >>> seconds = iter([1.0, 3.0])
    >>> meter = Meter(100, clock=lambda: next(seconds))
    >>> meter.committed(40), meter.reached
    (None, False)
    >>> meter.committed(60), meter.reached
    (None, True)
    >>> meter.result().per_second
    30.0
    """

    def __init__(self, goal: int, *, clock: Callable[[], float] = time.perf_counter) -> None:
        self._goal = goal
        self._clock = clock
        self._total = 0
        self._records = 0
        self._commits = 0
        self._began: tuple[float, float] | None = None
        self._ended = (0.0, 0.0)

    @property
    def reached(self) -> bool:
        """Whether the goal is committed."""
        return self._total >= self._goal

    def committed(self, records: int) -> None:
        """Take note of a commit over ``records`` inputs."""
        if self.reached:
            return
        self._total += records
        self._ended = (self._clock(), _cpu_seconds())
        if self._began is None:
            self._began = self._ended
        else:
            self._records += records
            self._commits += 1

    def result(self) -> Measurement:
        """Return what was measured.

        Raises:
            ValueError: the goal was not reached, or in one commit.
        """
        if self._began is None or not self.reached or not self._records:
            raise ValueError(
                f"{self._total:,} of {self._goal:,} records were committed, {self._records:,} of them after the first"
                " commit: nothing was measured. Measure more events."
            )
        seconds, cpu_seconds = (after - before for before, after in zip(self._began, self._ended, strict=True))
        return Measurement(records=self._records, commits=self._commits, seconds=seconds, cpu_seconds=cpu_seconds)


def _cpu_seconds() -> float:
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime
