"""The harness's clock: it stands still while the engine works, whatever the engine waits for."""

from __future__ import annotations

from streamserve.clock import ManualClock


class HarnessClock(ManualClock):
    """A manual clock whose sleeps take no time of day: a restart's back-off must not bring a timer nearer.

    They do count on the monotonic clock, which deadlines are held against.

    >>> clock = HarnessClock(start_ms=1_000)
    >>> clock.sleep(5)
    >>> clock.now_ms(), clock.monotonic()
    (1000, 5.0)
    """

    def __init__(self, start_ms: int = 0) -> None:
        super().__init__(start_ms)
        self._slept = 0.0

    def monotonic(self) -> float:
        """Return the seconds advanced and slept so far."""
        return super().monotonic() + self._slept

    def sleep(self, seconds: float) -> None:
        """Note that ``seconds`` were to be waited for."""
        self._slept += seconds
