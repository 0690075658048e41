"""Session windows: for each key, the sessions that may still grow."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Generic, TypeVar

from streamserve.state.windows.accumulators import Accumulator
from streamserve.state.windows.base import Pane, WindowResult, result_of
from streamserve.state.windows.spec import WindowSpec

__all__ = ["SessionWindows"]

S = TypeVar("S")
A = TypeVar("A")

_LAST = Struct(">q")


@dataclass(slots=True)
class _Session(Generic[S]):
    """The events of a key from ``first`` to ``last``, both included."""

    first: int
    last: int
    state: S


class SessionWindows(Generic[S, A]):
    """The open sessions; see ``Windows``. A session is stored under its first event's time.

    The sessions of one key are in order of time and at least a gap apart: mostly there is one.
    """

    def __init__(self, spec: WindowSpec, accumulator: Accumulator[S, A]) -> None:
        self._gap = spec.size_ms
        self._accumulator = accumulator
        self._keys: dict[bytes, list[_Session[S]]] = {}
        self._due: list[tuple[int, bytes]] = []
        self._dirty: dict[Pane, _Session[S] | None] = {}

    def run(
        self, keys: Sequence[bytes | None], times_ms: Sequence[int], column: Sequence[Any], updates: Sequence[bool]
    ) -> list[A | None]:
        """Count the rows that are updates, and return for each row what it sees, itself included."""
        gap, find, dirty, accumulator = self._gap, self._keys.get, self._dirty, self._accumulator
        add, result = accumulator.add, accumulator.result
        nothing = accumulator.nothing()
        answers: list[A | None] = []
        answer = answers.append
        for key, time, value, update in zip(keys, times_ms, column, updates, strict=True):
            if key is None:
                answer(None)
                continue
            sessions = find(key)
            session = sessions[-1] if sessions else None
            if session is None or not session.first <= time < session.last + gap:
                session = self._extended(key, time) if update else self._seen(key, time)
                if session is None:
                    answer(nothing)
                    continue
            if update:
                if time > session.last:  # noqa: PLR1730 - max() costs a call for each row
                    session.last = time
                dirty[session.first, key] = session
                if value is not None:
                    add(session.state, value, time)
            answer(result(session.state))
        return answers

    def _seen(self, key: bytes, time: int) -> _Session[S] | None:
        """Return the earliest session that ``time`` falls into or would extend."""
        near = self._near(self._keys.get(key, []), time)
        return near[0] if near else None

    def _near(self, sessions: Sequence[_Session[S]], time: int) -> list[_Session[S]]:
        gap = self._gap
        return [session for session in sessions if session.first - gap < time < session.last + gap]

    def _extended(self, key: bytes, time: int) -> _Session[S]:
        """Return the session that an event at ``time`` belongs to: a new one, or those nearby as one."""
        sessions = self._keys.setdefault(key, [])
        near = self._near(sessions, time)
        if not near:
            session = _Session(time, time, self._accumulator.new())
            sessions.append(session)
            heapq.heappush(self._due, (time + self._gap, key))
        else:
            session = self._joined(key, sessions, near)
            self._dirty[session.first, key] = None
            session.first = min(session.first, time)
        sessions.sort(key=lambda each: each.first)
        return session

    def _joined(self, key: bytes, sessions: list[_Session[S]], near: Sequence[_Session[S]]) -> _Session[S]:
        session, *others = near
        for other in others:
            self._accumulator.absorb(session.state, other.state)
            session.last = other.last
            sessions.remove(other)
            self._dirty[other.first, key] = None
        return session

    def checkpoint(self, key: bytes, time_ms: int) -> Callable[[], None]:  # noqa: ARG002 - it may join any sessions
        """Return what undoes the next row, of this key and time, where it raises."""
        copy, sessions = self._accumulator.copy, self._keys.get(key, [])
        before = [_Session(session.first, session.last, copy(session.state)) for session in sessions]

        def undo() -> None:
            self._dirty.update({(session.first, key): None for session in self._keys.pop(key, [])})
            self._dirty.update({(session.first, key): session for session in before})
            if before:
                self._keys[key] = before

        return undo

    def bounds(self, key: bytes, time_ms: int) -> tuple[int, int]:
        """Return start and end of the session that a row at the time has just extended."""
        session = self._seen(key, time_ms)
        return (time_ms, time_ms + self._gap) if session is None else (session.first, session.last + self._gap)

    def close(self, limit_ms: int, *, results: bool) -> list[WindowResult[Any]]:
        """Drop the sessions that end by ``limit_ms``, and return one result for each."""
        closed: list[WindowResult[Any]] = []
        while self._due and self._due[0][0] <= limit_ms:
            _, key = heapq.heappop(self._due)
            for session in self._ended(key, limit_ms):
                self._dirty[session.first, key] = None
                if results:
                    closed.append(self._result(key, session))
        return closed

    def _ended(self, key: bytes, limit: int) -> list[_Session[S]]:
        """Take the sessions of a key that end by ``limit``; keep an appointment for the end of the others."""
        sessions = self._keys.get(key, [])
        ended = [session for session in sessions if session.last + self._gap <= limit]
        del sessions[: len(ended)]
        if sessions:
            heapq.heappush(self._due, (sessions[0].last + self._gap, key))
        else:
            self._keys.pop(key, None)
        return ended

    def _result(self, key: bytes, session: _Session[S]) -> WindowResult[A]:
        return result_of(key, session.first, session.last + self._gap, self._accumulator, lambda: session.state)

    def take_panes(self) -> list[tuple[Pane, bytes | None]]:
        """Return the changed sessions as bytes: the last event's time, and the state; ``None`` for those gone."""
        encode = self._accumulator.encode
        panes: list[tuple[Pane, bytes | None]] = [
            (pane, None if session is None else _LAST.pack(session.last) + encode(session.state))
            for pane, session in self._dirty.items()
        ]
        self._dirty.clear()
        return panes

    def restore(self, panes: Sequence[tuple[Pane, bytes]], closed_ms: int) -> None:  # noqa: ARG002 - closed is gone
        """Take all sessions back, in order of their starts."""
        for (first, key), data in panes:
            (last,) = _LAST.unpack_from(data)
            session = _Session(first, last, self._accumulator.decode(data[_LAST.size :]))
            self._keys.setdefault(key, []).append(session)
            heapq.heappush(self._due, (last + self._gap, key))

    def live_keys(self) -> int:
        """Return how many keys have an open session."""
        return len(self._keys)
