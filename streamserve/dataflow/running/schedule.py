"""When timers are due: at multiples of a period since the epoch, so that restarts do not shift them, or by crontab."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from streamserve.clock import Clock
from streamserve.dataflow.batch import Tick
from streamserve.dataflow.planning.nodes import TimerNode

_CORRECTION_MS = 60_000
"""A clock that goes back by up to so much was corrected, and no time comes twice; by more it was set, and times do."""


class Schedule:
    """Tells which timers are due; a period missed while the worker was down or busy is not made up for.

    What comes due for a partition that is still being restored is kept until it is not. A clock that is set back by
    more than a minute stops no timer: those of times that come again run again.

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
        self._latest_ms = clock.now_ms()
        self._next_ms = {timer.name: timer.after(self._latest_ms) for timer in timers}
        self._kept: list[Tick] = []

    def due(self, partitions: Sequence[int], awaited: Collection[int] = ()) -> list[Tick]:
        """Return a tick for each due timer: one per partition, one for the worker, or one where partition 0 is.

        Ticks of ``awaited`` partitions are kept until these are among ``partitions``, one of each timer.
        """
        now = self._now_ms()
        ticks = dict.fromkeys(self._kept)
        for timer in self._timers:
            if now >= self._next_ms[timer.name]:
                self._next_ms[timer.name] = timer.after(now)
                ticks.update(
                    dict.fromkeys(Tick(timer.name, place) for place in _places(timer, [*partitions, *awaited]))
                )
        self._kept = [tick for tick in ticks if tick.partition in awaited]
        return [tick for tick in ticks if tick.partition is None or tick.partition in partitions]

    def pass_over(self) -> None:
        """Let what is due be missed here: others run it."""
        self.due([])

    def seconds_to_next(self) -> float:
        """Return how long nothing will be due; infinity without timers."""
        if not self._next_ms:
            return float("inf")
        now = self._now_ms()
        return max(0.0, (min(self._next_ms.values()) - now) / 1000)

    def _now_ms(self) -> int:
        now = self._clock.now_ms()
        if now < self._latest_ms - _CORRECTION_MS:
            self._next_ms = {timer.name: timer.after(now) for timer in self._timers}
            self._latest_ms = now
        self._latest_ms = max(now, self._latest_ms)
        return now


def _places(timer: TimerNode, partitions: Sequence[int]) -> Sequence[int | None]:
    """Return for which of the worker's ``partitions`` a timer runs; ``None`` is the worker itself."""
    if timer.per == "worker":
        return [None]
    return partitions if timer.per == "partition" else [partition for partition in partitions if partition == 0]
