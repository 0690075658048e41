"""Which events belong together: windows of event time, as plain descriptions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias

from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError

__all__ = ["WindowKind", "WindowSpec", "hopping", "session", "sliding", "tumbling"]

WindowKind: TypeAlias = Literal["tumbling", "hopping", "sliding", "session"]


@dataclass(frozen=True, slots=True)
class WindowSpec:
    """A kind of window with its lengths in milliseconds; ``size_ms`` is the gap of a session.

    ``grace_ms`` is how far an event may lie behind the watermark and still count; windows close that much later.
    """

    kind: WindowKind
    size_ms: int
    step_ms: int
    grace_ms: int = 0

    def __post_init__(self) -> None:
        if self.size_ms <= 0 or self.step_ms <= 0:
            raise PlanError(f"a {self.kind} window cannot have a length of 0: give at least 1ms")
        if self.size_ms % self.step_ms:
            raise PlanError(
                f"the step of a hopping window has to divide its size, but {self.step_ms} ms does not divide "
                f"{self.size_ms} ms: for example a size of 1h with a step of 5m"
            )

    @property
    def format(self) -> str:
        """What must not change while stored state is to be read again."""
        return f"{self.kind} {self.size_ms}/{self.step_ms}"

    def bounds(self, time_ms: int) -> tuple[int, int]:
        """Return start and end of the window that an event at ``time_ms`` sees; sessions depend on their events.

        >>> hopping("1h", step="15m").bounds(4_000_000)
        (900000, 4500000)
        """
        end = time_ms - time_ms % self.step_ms + self.step_ms
        return end - self.size_ms, end


def tumbling(size: Duration, *, grace: Duration = "0s") -> WindowSpec:
    """Cut time into windows ``[k * size, (k + 1) * size)``, aligned to the epoch, UTC.

    An event at time t sees the window that contains t, as far as it has come.

    >>> tumbling("1h").bounds(3_600_000)
    (3600000, 7200000)
    """
    return _spec("tumbling", size, size, grace)


def hopping(size: Duration, *, step: Duration, grace: Duration = "0s") -> WindowSpec:
    """Open a window ``[k * step, k * step + size)`` at every ``step``, aligned to the epoch, UTC.

    An event at time t sees the last ``size / step`` panes of length ``step``: the one that contains t, as far as it
    has come, and those before it.

    Raises:
        PlanError: ``step`` does not divide ``size``.
    """
    return _spec("hopping", size, step, grace)


def sliding(size: Duration, *, grace: Duration = "0s") -> WindowSpec:
    """Look back over exactly ``size``: an event at time t sees the events of ``(t - size, t]``.

    It keeps a state for every millisecond that has events, and closes nothing.
    """
    return _spec("sliding", size, "1ms", grace)


def session(gap: Duration, *, grace: Duration = "0s") -> WindowSpec:
    """Put events of a key together that lie less than ``gap`` apart: ``[first, last + gap)``.

    An event at time t sees the session whose span, widened by ``gap`` at both ends, contains t.
    """
    return _spec("session", gap, gap, grace)


def _spec(kind: WindowKind, size: Duration, step: Duration, grace: Duration) -> WindowSpec:
    try:
        return WindowSpec(kind, to_milliseconds(size), to_milliseconds(step), to_milliseconds(grace))
    except ValueError as error:
        raise PlanError(f"a {kind} window: {error}") from error
