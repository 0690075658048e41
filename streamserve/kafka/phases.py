"""Where a transaction stands, and the only ways from there.

idle ──open──▶ open ──close──▶ closing ─┬─▶ committed ──▶ idle
                 │                      ├─▶ aborted ──▶ (engine restart)
                 └──────abort───────────┴─▶ unknown ──▶ (engine restart)
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum


class Phase(Enum):
    """Where the transaction stands."""

    IDLE = "idle"
    OPEN = "open"
    CLOSING = "closing"
    COMMITTED = "committed"
    ABORTED = "aborted"
    UNKNOWN = "unknown"


LEGAL: Mapping[Phase, frozenset[Phase]] = {
    Phase.IDLE: frozenset({Phase.OPEN}),
    Phase.OPEN: frozenset({Phase.CLOSING, Phase.ABORTED}),
    Phase.CLOSING: frozenset({Phase.COMMITTED, Phase.ABORTED, Phase.UNKNOWN}),
    Phase.COMMITTED: frozenset({Phase.IDLE}),
    Phase.ABORTED: frozenset(),
    Phase.UNKNOWN: frozenset(),
}


class Phases:
    """Holds the phase.

    >>> phases = Phases()
    >>> phases.enter(Phase.OPEN)
    >>> phases.now.value
    'open'
    """

    def __init__(self, start: Phase = Phase.IDLE) -> None:
        self.now = start

    def enter(self, phase: Phase) -> None:
        """Go on to ``phase``.

        Raises:
            AssertionError: there is no way from here to there.
        """
        if phase not in LEGAL[self.now]:
            raise AssertionError(f"transaction cannot go from {self.now.value} to {phase.value}")
        self.now = phase
