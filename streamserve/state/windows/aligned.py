"""Tumbling windows: one state for each window and key, by window first."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Generic, TypeVar

from streamserve.state.windows.accumulators import Accumulator
from streamserve.state.windows.base import Pane, WindowResult, result_of
from streamserve.state.windows.spec import WindowSpec

__all__ = ["TumblingWindows"]

S = TypeVar("S")
A = TypeVar("A")


class TumblingWindows(Generic[S, A]):
    """The tumbling windows that are open; see ``Windows``."""

    def __init__(self, spec: WindowSpec, accumulator: Accumulator[S, A]) -> None:
        self._spec = spec
        self._size = spec.size_ms
        self._accumulator = accumulator
        self._open: dict[int, dict[bytes, S]] = {}
        self._dirty: dict[int, set[bytes]] = {}

    def run(
        self, keys: Sequence[bytes | None], times_ms: Sequence[int], column: Sequence[Any], updates: Sequence[bool]
    ) -> list[A | None]:
        """Count the rows that are updates, and return for each row what it sees, itself included."""
        size, accumulator = self._size, self._accumulator
        new, add, result = accumulator.new, accumulator.add, accumulator.result
        nothing = accumulator.nothing()
        answers: list[A | None] = []
        answer = answers.append
        start = end = 0
        window: dict[bytes, S] = {}
        dirty: set[bytes] = set()
        for key, time, value, update in zip(keys, times_ms, column, updates, strict=True):
            if not start <= time < end:
                start = time - time % size
                end = start + size
                window, dirty = self._window(start)
            if key is None:
                answer(None)
                continue
            state = window.get(key)
            if update:
                if state is None:
                    state = window[key] = new()
                dirty.add(key)
                if value is not None:
                    add(state, value, time)
            answer(nothing if state is None else result(state))
        return answers

    def _window(self, start: int) -> tuple[dict[bytes, S], set[bytes]]:
        return self._open.setdefault(start, {}), self._dirty.setdefault(start, set())

    def checkpoint(self, key: bytes, time_ms: int) -> Callable[[], None]:
        """Return what undoes the next row, of this key and time, where it raises."""
        window, _ = self._window(time_ms - time_ms % self._size)
        state = window.get(key)
        before = None if state is None else self._accumulator.copy(state)

        def undo() -> None:
            window.pop(key, None)
            if before is not None:
                window[key] = before

        return undo

    def bounds(self, key: bytes, time_ms: int) -> tuple[int, int]:  # noqa: ARG002 - the same for all keys
        """Return start and end of the window that contains the time."""
        return self._spec.bounds(time_ms)

    def close(self, limit_ms: int, *, results: bool) -> list[WindowResult[Any]]:
        """Drop the windows that end by ``limit_ms``, and return one result for each of their keys."""
        closed: list[WindowResult[Any]] = []
        for start in [start for start in self._open if start + self._size <= limit_ms]:
            window = self._open.pop(start)
            self._dirty.setdefault(start, set()).update(window)
            if results:
                closed += self._results(start, window)
        return closed

    def _results(self, start: int, window: dict[bytes, S]) -> list[WindowResult[A]]:
        accumulator, end = self._accumulator, start + self._size
        return [result_of(key, start, end, accumulator, lambda state=state: state) for key, state in window.items()]

    def take_panes(self) -> list[tuple[Pane, bytes | None]]:
        """Return the changed states as bytes, ``None`` for those of closed windows."""
        panes: list[tuple[Pane, bytes | None]] = []
        for start, keys in self._dirty.items():
            window = self._open.get(start, {})
            panes += [((start, key), self._encoded(window.get(key))) for key in sorted(keys)]
        self._dirty = {}
        return panes

    def _encoded(self, state: S | None) -> bytes | None:
        return None if state is None else self._accumulator.encode(state)

    def restore(self, panes: Sequence[tuple[Pane, bytes]], closed_ms: int) -> None:  # noqa: ARG002 - closed is gone
        """Take all states back."""
        decode = self._accumulator.decode
        for (start, key), data in panes:
            self._open.setdefault(start, {})[key] = decode(data)

    def live_keys(self) -> int:
        """Return how many keys have a state."""
        return len(set[bytes]().union(*self._open.values()))
