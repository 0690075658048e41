"""Faults that strike one after the other in one process, each in the recovery from the last."""

from __future__ import annotations

import sys
from collections import Counter, deque
from collections.abc import Callable, Sequence

from streamserve.kafka.calls import When
from streamserve.testing.faults import Fault, parse_faults

PREFIX = "relay:"
"""What a list of faults begins with to be one of these."""
STRUCK = "struck: "
"""What a worker writes before a fault strikes, the number of the fault behind it."""
ENOUGH_COMMITS = 4
"""So many commits after the last fault, the recovery from it is over."""
LATE_CALL = "consumer.delete_records"
"""Is made when a worker has run for a second, so that one whose next fault is there goes on for longer."""
MANY_COMMITS = 60


class Relay:
    """A ``Hook`` whose ordinals count from the fault before; ``stop`` ends the worker once it has recovered.

    A fault whose turn has come stays armed while the worker stops: some calls are made only then.
    """

    def __init__(self, faults: Sequence[Fault], stop: Callable[[], None]) -> None:
        self._left = deque(enumerate(faults))
        self._stop = stop
        self._commits = 0
        self._counts: Counter[tuple[str, When]] = Counter()

    @property
    def _enough(self) -> int:
        waits = bool(self._left) and self._left[0][1].call == LATE_CALL
        return MANY_COMMITS if waits else ENOUGH_COMMITS

    def __call__(self, name: str, when: When) -> None:
        """Count one side of a call; let the fault happen whose turn it is."""
        self._counts[name, when] += 1
        if (name, when) == ("producer.commit_transaction", "after"):
            self._commits += 1
            if self._commits >= self._enough:
                self._stop()
        if not self._left:
            return
        number, fault = self._left[0]
        if (name, when, self._counts[name, when]) == (fault.call, fault.when, fault.ordinal):
            self._left.popleft()
            self._counts.clear()
            self._commits = 0
            print(f"{STRUCK}{number}", file=sys.stderr, flush=True)
            fault.strike()


def relayed(text: str, stop: Callable[[], None]) -> Relay | None:
    """Return the relay that ``text`` describes, ``None`` where it is for the plain switch."""
    return Relay(parse_faults(text.removeprefix(PREFIX)), stop) if text.startswith(PREFIX) else None
