"""The panes of one key, and their aggregate over the last so many of them, kept up as time moves on.

A window that moves is cut into panes, each aggregated once (Li et al., "No pane, no gain", SIGMOD Record 34(1), 2005).
What the window holds follows from its panes in one of two ways, both of constant cost for an event, whatever the window
holds:

- taking away the panes that leave, where that is exact (``Subtracting``);
- two stacks (``TwoStacks``; Tangwongsan, Hirzel and Schneider, "General incremental sliding-window aggregation",
  PVLDB 8(7), 2015): the older panes as aggregates from each of them to the last of the older, the newer as one.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from bisect import bisect_left, bisect_right
from typing import Any, Generic, TypeVar

from typing_extensions import override

from streamserve.errors import RecordError
from streamserve.state.windows.accumulators import Accumulator

__all__ = ["BEFORE_ALL", "Rolling", "rolling_of"]

S = TypeVar("S")

BEFORE_ALL = -(2**62)
"""Before every time there is."""


class Rolling(ABC, Generic[S]):
    """Panes by start, ascending; the view is those from ``low`` on, ``starts[head:]``.

    ``newest`` and ``current`` are the last pane's start and state. Whoever adds a value in order, at the newest pane,
    adds it to ``current`` and, unless ``is_stale``, to ``recent``: ``view`` makes a stale one anew, and it alone may
    raise what functions of users do. ``commit`` and ``due`` are for the owner's notes: when it last saw ``current``
    change, and from which start on it next looks for panes to drop.
    """

    __slots__ = (
        "accumulator",
        "commit",
        "current",
        "due",
        "head",
        "is_stale",
        "low",
        "newest",
        "recent",
        "starts",
        "states",
    )

    def __init__(self, accumulator: Accumulator[S, Any]) -> None:
        self.accumulator = accumulator
        self.starts: list[int] = []
        self.states: list[S] = []
        self.head = 0
        self.commit = -1
        self.due = BEFORE_ALL
        self.low = self.newest = BEFORE_ALL
        self.current = accumulator.new()
        self.recent = accumulator.new()
        self.is_stale = False

    @abstractmethod
    def view(self) -> S:
        """Return the aggregate of the view; it may be part of this object, so it is not to be changed or kept."""

    @abstractmethod
    def slide(self, low: int) -> None:
        """Move the view's beginning up to ``low``."""

    @abstractmethod
    def _lose_view(self) -> None:
        """Let the view be computed anew from its panes."""

    @abstractmethod
    def _insert(self, value: Any, time_ms: int) -> None:
        """Bring the view up to date after ``value`` went into one of its older panes."""

    def push(self, start: int, state: S) -> None:
        """Append an empty pane later than all others."""
        self.starts.append(start)
        self.states.append(state)
        self.newest, self.current, self.commit = start, state, -1

    def push_filled(self, start: int, state: S) -> None:
        """Append a pane later than all others with what is in it."""
        self.push(start, state)
        self.accumulator.absorb(self.recent, state)

    def insert(self, start: int, value: Any, time_ms: int) -> S:
        """Add a value out of order, ``None`` for the pane alone; return the pane's state."""
        place = bisect_left(self.starts, start)
        if place == len(self.starts) or self.starts[place] != start:
            self.starts.insert(place, start)
            self.states.insert(place, self.accumulator.new())
            self.head += start < self.low
            self.newest, self.current, self.commit = self.starts[-1], self.states[-1], -1
        if value is not None:
            self.accumulator.add(self.states[place], value, time_ms)
        if start >= self.low:
            self._insert(value, time_ms)
        return self.states[place]

    def put_back(self, start: int, state: S | None, low: int) -> None:
        """Let the pane at ``start`` be ``state`` again, ``None`` for no pane, and the view begin at ``low``."""
        place = bisect_left(self.starts, start)
        if state is not None:
            self.states[place] = state
        elif place < len(self.starts) and self.starts[place] == start:
            del self.starts[place], self.states[place]
        self.newest, self.current, self.commit = self.starts[-1], self.states[-1], -1
        self.low, self.head = low, bisect_left(self.starts, low)
        self._lose_view()

    def between(self, low: int, high: int) -> S:
        """Return the aggregate of the panes that start in ``[low, high]``, computed anew."""
        state = self.accumulator.new()
        for place in range(bisect_left(self.starts, low), bisect_right(self.starts, high)):
            self.accumulator.absorb(state, self.states[place])
        return state

    def purge(self, before: int) -> list[int]:
        """Drop the panes that start earlier, and return their starts."""
        if self.low < before:
            self.slide(before)
        gone = bisect_left(self.starts, before)
        starts = self.starts[:gone]
        del self.starts[:gone], self.states[:gone]
        self.head -= gone
        return starts


class Subtracting(Rolling[S]):
    """``recent`` is the whole view."""

    __slots__ = ()

    @override
    def view(self) -> S:
        return self.recent

    @override
    def slide(self, low: int) -> None:
        starts, states, head = self.starts, self.states, self.head
        self.low = low
        while head < len(starts) and starts[head] < low:
            self.accumulator.remove(self.recent, states[head])
            head += 1
        if head == len(starts):
            self.recent = self.accumulator.new()
        self.head = head

    @override
    def _lose_view(self) -> None:
        self.recent = self.between(self.low, self.newest)

    @override
    def _insert(self, value: Any, time_ms: int) -> None:
        if value is not None:
            self.accumulator.add(self.recent, value, time_ms)


class TwoStacks(Rolling[S]):
    """``older[-1]`` is the aggregate of the oldest panes of the view, and ``recent`` that of the others.

    Below the top of ``older`` stand the aggregates that are left when the view's first, second ... pane leaves. The
    newest pane is always among the others, since values still come to it.
    """

    __slots__ = ("older",)

    def __init__(self, accumulator: Accumulator[S, Any]) -> None:
        super().__init__(accumulator)
        self.older: list[S] = []

    @override
    def view(self) -> S:
        if self.is_stale:
            self._restack()
        return self.accumulator.merge(self.older[-1], self.recent) if self.older else self.recent

    @override
    def slide(self, low: int) -> None:
        self.low = low
        head = bisect_left(self.starts, low, self.head)
        leaving = head - self.head
        self.head = head
        if leaving <= len(self.older):
            del self.older[len(self.older) - leaving :]
        else:
            self.is_stale = True

    @override
    def push_filled(self, start: int, state: S) -> None:
        try:
            super().push_filled(start, state)
        except RecordError:
            self.is_stale = True

    @override
    def _lose_view(self) -> None:
        self.is_stale = True

    @override
    def _insert(self, value: Any, time_ms: int) -> None:
        self.is_stale = True

    def _restack(self) -> None:
        """Make all panes but the newest the older ones."""
        self.recent = self.accumulator.new()
        self.older = []
        if self.head < len(self.starts):
            self.accumulator.absorb(self.recent, self.current)
            later = self.accumulator.new()
            for place in range(len(self.states) - 2, self.head - 1, -1):
                later = self.accumulator.merge(self.states[place], later)
                self.older.append(later)
        self.is_stale = False


def rolling_of(accumulator: Accumulator[S, Any]) -> Rolling[S]:
    """Return no panes yet, kept in the way that suits the accumulator."""
    return Subtracting(accumulator) if accumulator.invertible else TwoStacks(accumulator)
