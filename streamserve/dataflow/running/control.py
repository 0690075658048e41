"""Whether the app is told to process or to pause: asked between batches, answered from the control topic."""

from __future__ import annotations

from collections.abc import Collection

from streamserve.clock import Clock
from streamserve.dataflow.planning.plan import Plan
from streamserve.kafka.calls import Calls
from streamserve.kafka.control import ControlReader, control_topic
from streamserve.settings import Settings

__all__ = ["Control"]

_LISTEN_SECONDS = 0.2
_LOOK_SECONDS = 1.0
"""How often a topic is looked for that does not exist: it is made by the first command that writes to it."""


class Control:
    """Knows what was said last; ``topics`` are those that exist.

    Raises (from ``listen``): what ``ControlReader`` raises.
    """

    def __init__(self, plan: Plan, settings: Settings, calls: Calls, topics: Collection[str], clock: Clock) -> None:
        self._clock = clock
        self._reader = ControlReader(plan.app, settings, calls, exists=control_topic(plan.app) in topics)
        self._heard_at: float | None = None

    @property
    def loaded(self) -> bool:
        """Return whether all is known that was said before the worker came; nothing may be processed earlier."""
        return self._reader.loaded

    @property
    def paused(self) -> bool:
        """Return whether the app is told to pause."""
        return self._reader.state.paused

    @property
    def why(self) -> str:
        """Return since when the app is paused and for what reason, in words."""
        state = self._reader.state
        reason = f" ({state.reason})" if state.reason else ""
        return f"paused since {state.since or 'an unknown time'}{reason}: 'streamserve resume MODULE:APP' goes on"

    def listen(self) -> None:
        """Hear what was said since the last time, if that was a moment ago."""
        now = self._clock.monotonic()
        pause = _LISTEN_SECONDS if self._reader.exists else _LOOK_SECONDS
        if self._heard_at is None or not self.loaded or now - self._heard_at >= pause:
            self._heard_at = now
            self._reader.step()

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()
