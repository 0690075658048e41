"""When timers are due: at whole multiples of their period since the epoch, so that restarts do not shift them."""

from __future__ import annotations

from collections.abc import Sequence

from streamserve.clock import Clock
from streamserve.dataflow.batch import Tick
from streamserve.dataflow.plan import TimerNode


class Schedule:
    """Tells which timers are due; a period missed while the worker was down or busy is not made up for.

    >>> from streamserve.clock import ManualClock
    >>> clock = ManualClock(start_ms=500)
    >>> schedule = Schedule([TimerNode("t", 1_000, "out", "worker", lambda: None)], clock)
    >>> schedule.due([0, 1]), schedule.seconds_to_next()
    ([], 0.5)
    >>> clock.advance(0.5)
    >>> schedule.due([0, 1])
    [Tick(timer='t', partition=None)]
    """

    def __init__(self, timers: Sequence[TimerNode], clock: Clock) -> None:
        self._timers = timers
        self._clock = clock
        now = clock.now_ms()
        self._next_ms = {timer.name: _after(now, timer.every_ms) for timer in timers}

    def due(self, partitions: Sequence[int]) -> list[Tick]:
        """Return a tick for each due timer: one per partition, or one for the worker."""
        now = self._clock.now_ms()
        ticks: list[Tick] = []
        for timer in self._timers:
            if now >= self._next_ms[timer.name]:
                self._next_ms[timer.name] = _after(now, timer.every_ms)
                places: Sequence[int | None] = partitions if timer.per == "partition" else [None]
                ticks.extend(Tick(timer.name, partition) for partition in places)
        return ticks

    def seconds_to_next(self) -> float:
        """Return how long nothing will be due; infinity without timers."""
        if not self._next_ms:
            return float("inf")
        return max(0.0, (min(self._next_ms.values()) - self._clock.now_ms()) / 1000)


def _after(now_ms: int, every_ms: int) -> int:
    """Return the first multiple of ``every_ms`` after ``now_ms``."""
    return (now_ms // every_ms + 1) * every_ms
