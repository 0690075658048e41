"""Timers of one clock, one for each key, in time order."""

from __future__ import annotations

import heapq
from typing import Literal, TypeAlias

__all__ = ["MOST_DUE_AT_ONCE", "TimerClock", "Timers"]

TimerClock: TypeAlias = Literal["event", "processing"]
"""What makes a timer due: the watermark of its partition, or the clock of the worker that owns it."""

MOST_DUE_AT_ONCE = 10_000
"""So many timers are given out at a time: what they do is part of one transaction, which has to end in time."""

_SPARE = 64


class Timers:
    """The timers of one table and clock: a dictionary says what holds, a heap says what comes next.

    Replaced and deleted timers stay in the heap until they come up or make up more than half of it, so each operation
    costs O(log n) amortised. All timers are in memory, about 250 bytes each.

    >>> timers = Timers()
    >>> timers.set(b"a", 30); timers.set(b"b", 20); timers.set(b"a", 10)
    >>> timers.next_ms
    10
    >>> timers.due(20), timers.due(20), len(timers)
    ([(b'a', 10), (b'b', 20)], [], 0)
    """

    def __init__(self) -> None:
        self._at_ms: dict[bytes, int] = {}
        self._heap: list[tuple[int, bytes]] = []

    def __len__(self) -> int:
        return len(self._at_ms)

    @property
    def next_ms(self) -> int | None:
        """Return the time of the first timer, ``None`` where there is none."""
        while self._heap:
            at_ms, key = self._heap[0]
            if self._at_ms.get(key) == at_ms:
                return at_ms
            heapq.heappop(self._heap)
        return None

    def set(self, key: bytes, at_ms: int) -> None:
        """Let the timer of ``key`` be due at ``at_ms`` and at no other time."""
        if self._at_ms.get(key) == at_ms:
            return
        self._at_ms[key] = at_ms
        heapq.heappush(self._heap, (at_ms, key))
        if len(self._heap) > 2 * len(self._at_ms) + _SPARE:
            self._heap = [(at_ms, key) for key, at_ms in self._at_ms.items()]
            heapq.heapify(self._heap)

    def delete(self, key: bytes) -> None:
        """Forget the timer of ``key``, if there is one."""
        self._at_ms.pop(key, None)

    def due(self, now_ms: int) -> list[tuple[bytes, int]]:
        """Remove and return what is due at ``now_ms`` as (key, time), by time, then by key.

        At most ``MOST_DUE_AT_ONCE`` come at a time: ask again.
        """
        due: list[tuple[bytes, int]] = []
        while self._heap and self._heap[0][0] <= now_ms and len(due) < MOST_DUE_AT_ONCE:
            at_ms, key = heapq.heappop(self._heap)
            if self._at_ms.get(key) == at_ms:
                del self._at_ms[key]
                due.append((key, at_ms))
        return due
