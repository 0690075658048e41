"""Hopping and sliding windows: panes for each key, and their aggregate kept up as time moves on.

A sliding window is a hopping one with a step of one millisecond that closes nothing.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Generic, TypeVar

from streamserve.state.windows.accumulators import Accumulator
from streamserve.state.windows.base import Pane, WindowResult, result_of
from streamserve.state.windows.rolling import BEFORE_ALL, Rolling, rolling_of
from streamserve.state.windows.spec import WindowSpec

__all__ = ["MovingWindows"]

S = TypeVar("S")
A = TypeVar("A")

_PURGES_PER_SIZE = 16
"""How often a busy key's old panes are dropped while time moves on by a window's size."""


class MovingWindows(Generic[S, A]):
    """The panes of all keys; see ``Windows``."""

    def __init__(self, spec: WindowSpec, accumulator: Accumulator[S, A]) -> None:
        self._spec = spec
        self._size, self._step = spec.size_ms, spec.step_ms
        self._slack = max(spec.size_ms // _PURGES_PER_SIZE, spec.step_ms)
        self._accumulator = accumulator
        self._keys: dict[bytes, Rolling[S]] = {}
        self._due: list[tuple[int, bytes]] = []
        self._dirty: dict[Pane, S | None] = {}
        self._commit = 0
        self._closing: dict[bytes, Rolling[S]] = {}
        self._closed_ms = BEFORE_ALL

    def run(
        self, keys: Sequence[bytes | None], times_ms: Sequence[int], column: Sequence[Any], updates: Sequence[bool]
    ) -> list[A | None]:
        """Count the rows that are updates, and return for each row what it sees, itself included."""
        step, reach, accumulator = self._step, self._size - self._step, self._accumulator
        add, add_both, result, commit = accumulator.add, accumulator.add_both, accumulator.result, self._commit
        nothing, view_is_recent = accumulator.nothing(), accumulator.invertible
        answers: list[A | None] = []
        answer = answers.append
        find = self._keys.get
        for key, time, value, update in zip(keys, times_ms, column, updates, strict=True):
            rolling = None if key is None else find(key)
            if key is None or rolling is None:
                if key is None or not update:
                    answer(None if key is None else nothing)
                    continue
                rolling = self._open(key, time - time % step)
            start = time - time % step
            low = start - reach
            if start < rolling.newest or low < rolling.low:
                answer(self._out_of_order(key, rolling, time, value, update=update))
                continue
            if low != rolling.low:
                rolling.slide(low)
            if update:
                if start != rolling.newest or rolling.commit != commit:
                    self._touch(key, rolling, start)
                if value is not None and rolling.is_stale:
                    add(rolling.current, value, time)
                elif value is not None:
                    add_both(rolling.current, rolling.recent, value, time)
            answer(result(rolling.recent if view_is_recent else rolling.view()))
        return answers

    def _open(self, key: bytes, start: int) -> Rolling[S]:
        rolling = self._keys[key] = rolling_of(self._accumulator)
        self._look_again(key, rolling, start)
        return rolling

    def _look_again(self, key: bytes, rolling: Rolling[S], start: int) -> None:
        """Look at a key's panes again once those that start there have to go."""
        rolling.due = start
        heapq.heappush(self._due, (start, key))

    def _touch(self, key: bytes, rolling: Rolling[S], start: int) -> None:
        """Make the newest pane where it is not there yet, and note that it changes before the next commit."""
        if start != rolling.newest:
            rolling.push(start, self._accumulator.new())
        rolling.commit = self._commit
        self._dirty[start, key] = rolling.current

    def _out_of_order(self, key: bytes, rolling: Rolling[S], time: int, value: Any, *, update: bool) -> A:
        start = time - time % self._step
        if update:
            self._dirty[start, key] = rolling.insert(start, value, time)
        return self._accumulator.result(rolling.between(start - self._size + self._step, start))

    def checkpoint(self, key: bytes, time_ms: int) -> Callable[[], None]:
        """Return what undoes the next row, of this key and time, where it raises."""
        start, rolling = time_ms - time_ms % self._step, self._keys.get(key)
        if rolling is None:
            return lambda: self._undo_first(key, start)
        place, low = bisect_left(rolling.starts, start), rolling.low
        is_there = place < len(rolling.starts) and rolling.starts[place] == start
        before = self._accumulator.copy(rolling.states[place]) if is_there else None

        def undo() -> None:
            self._dirty[start, key] = before
            rolling.put_back(start, before, low)

        return undo

    def _undo_first(self, key: bytes, start: int) -> None:
        if self._keys.pop(key, None) is not None:
            self._dirty[start, key] = None

    def bounds(self, key: bytes, time_ms: int) -> tuple[int, int]:  # noqa: ARG002 - the same for all keys
        """Return start and end of the window that ends with the pane of the time."""
        return self._spec.bounds(time_ms)

    def close(self, limit_ms: int, *, results: bool) -> list[WindowResult[Any]]:
        """Drop the panes whose last window ends by ``limit_ms``, and return the windows that end by then."""
        closed: list[WindowResult[Any]] = []
        if results and self._spec.kind == "hopping" and limit_ms // self._step > self._closed_ms // self._step:
            for key, rolling in self._keys.items():
                closed += self._hops(key, rolling, limit_ms)
        self._closed_ms = max(limit_ms, self._closed_ms)
        self._purge(limit_ms - self._size + 1)
        return closed

    def _hops(self, key: bytes, rolling: Rolling[S], limit: int) -> Iterator[WindowResult[A]]:
        """Yield the hops of one key that end in ``(closed, limit]`` and hold an event, oldest first.

        A second view follows behind: every pane enters it once, when its first hop closes and nothing is added to it
        any more.
        """
        step, starts = self._step, rolling.starts
        closing = self._closing.get(key)
        if closing is None:
            closing = self._closing[key] = rolling_of(self._accumulator)
        place = bisect_right(starts, closing.newest)
        end = max(self._closed_ms - self._closed_ms % step, starts[0]) + step
        while end <= limit:
            while place < len(starts) and starts[place] < end:
                closing.push_filled(starts[place], rolling.states[place])
                place += 1
            closing.slide(end - self._size)
            if closing.head < len(closing.starts):
                yield result_of(key, end - self._size, end, self._accumulator, closing.view)
                end += step
            elif place < len(starts):
                end = starts[place] + step
            else:
                break
        closing.purge(limit - self._size + 1)

    def _purge(self, before: int) -> None:
        """Drop the panes that start earlier, and the keys without panes.

        Time goes in steps for it, which are the same however often this is asked: so is what the changelog holds.
        """
        before -= before % self._slack
        while self._due and self._due[0][0] < before:
            due, key = heapq.heappop(self._due)
            rolling = self._keys.get(key)
            if rolling is None or rolling.due != due:
                continue  # what stood under the key then was undone
            for start in rolling.purge(before):
                self._dirty[start, key] = None
            if rolling.starts:
                self._look_again(key, rolling, rolling.starts[0])
            else:
                del self._keys[key]
                self._closing.pop(key, None)

    def take_panes(self) -> list[tuple[Pane, bytes | None]]:
        """Return the changed panes as bytes, ``None`` for those that were dropped."""
        encode = self._accumulator.encode
        panes = [(pane, None if state is None else encode(state)) for pane, state in self._dirty.items()]
        self._dirty.clear()
        self._commit += 1
        return panes

    def restore(self, panes: Sequence[tuple[Pane, bytes]], closed_ms: int) -> None:
        """Take all panes back, in order of their starts."""
        self._closed_ms = closed_ms
        for (start, key), data in panes:
            rolling = self._keys.get(key) or self._open(key, start)
            rolling.push_filled(start, self._accumulator.decode(data))

    def live_keys(self) -> int:
        """Return how many keys have a pane."""
        return len(self._keys)
