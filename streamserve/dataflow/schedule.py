"""When timers are due: at multiples of a period since the epoch, so that restarts do not shift them, or by crontab."""

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
        self._next_ms = {timer.name: timer.after(now) for timer in timers}

    def due(self, partitions: Sequence[int]) -> list[Tick]:
        """Return a tick for each due timer: one per partition, one for the worker, or one where partition 0 is."""
        now = self._clock.now_ms()
        ticks: list[Tick] = []
        for timer in self._timers:
            if now >= self._next_ms[timer.name]:
                self._next_ms[timer.name] = timer.after(now)
                ticks.extend(Tick(timer.name, partition) for partition in _places(timer, partitions))
        return ticks

    def pass_over(self) -> None:
        """Let what is due be missed here: others run it."""
        self.due([])

    def seconds_to_next(self) -> float:
        """Return how long nothing will be due; infinity without timers."""
        if not self._next_ms:
            return float("inf")
        return max(0.0, (min(self._next_ms.values()) - self._clock.now_ms()) / 1000)


def _places(timer: TimerNode, partitions: Sequence[int]) -> Sequence[int | None]:
    """Return for which of the worker's ``partitions`` a timer runs; ``None`` is the worker itself."""
    if timer.per == "worker":
        return [None]
    return partitions if timer.per == "partition" else [partition for partition in partitions if partition == 0]
