"""What the kinds of windows have in common."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from struct import Struct
from typing import Any, Generic, Protocol, TypeAlias, TypeVar, cast

from streamserve.errors import RecordError
from streamserve.state.windows.accumulators import Accumulator

__all__ = ["Pane", "WindowResult", "Windows", "pane_key", "result_of", "split_pane_key"]

S = TypeVar("S")
A = TypeVar("A")

Pane: TypeAlias = tuple[int, bytes]
"""Where a stored state belongs: start in milliseconds, and record key."""

_START = Struct(">q")


@dataclass(frozen=True, slots=True)
class WindowResult(Generic[A]):
    """The aggregate of a key's events in ``[start_ms, end_ms)``, milliseconds since the epoch, UTC.

    ``fault`` says why there is no ``value``: a function of a custom aggregate raised.
    """

    key: bytes
    start_ms: int
    end_ms: int
    value: A
    fault: RecordError | None = None


def result_of(
    key: bytes, start_ms: int, end_ms: int, accumulator: Accumulator[S, A], view: Callable[[], S]
) -> WindowResult[A]:
    """Return the result of a window whose state ``view`` gives, or the fault that it comes to instead."""
    try:
        return WindowResult(key, start_ms, end_ms, accumulator.result(view()))
    except RecordError as fault:
        return WindowResult(key, start_ms, end_ms, cast("A", None), fault)


class Windows(Protocol[A]):
    """All windows of one kind: those of every key of a partition group.

    A window is over once ``close`` was called with a limit at or after its end, and nothing is added to it any more.
    """

    def run(
        self, keys: Sequence[bytes | None], times_ms: Sequence[int], column: Sequence[Any], updates: Sequence[bool]
    ) -> list[A | None]:
        """Count the rows that are updates, and return for each row what it sees, itself included."""
        ...

    def checkpoint(self, key: bytes, time_ms: int) -> Callable[[], None]:
        """Return what undoes the next row, of this key and time, where it raises; only for fallible accumulators."""
        ...

    def bounds(self, key: bytes, time_ms: int) -> tuple[int, int]:
        """Return start and end of the window that a row sees, right after ``run`` with it."""
        ...

    def close(self, limit_ms: int, *, results: bool) -> list[WindowResult[Any]]:
        """Drop what cannot matter to rows at or after ``limit_ms``; return windows that end by then, in any order."""
        ...

    def take_panes(self) -> list[tuple[Pane, bytes | None]]:
        """Return the states that changed since the last call, written as bytes; ``None`` for those that are gone."""
        ...

    def restore(self, panes: Sequence[tuple[Pane, bytes]], closed_ms: int) -> None:
        """Take all states back, in order of their starts; ``close`` was last called with ``closed_ms``."""
        ...

    def live_keys(self) -> int:
        """Return how many keys have a state."""
        ...


def pane_key(pane: Pane) -> bytes:
    r"""Return the changelog key of a pane: eight bytes, big-endian and signed, and the record key.

    >>> pane_key((256, b"EWR"))
    b'\x00\x00\x00\x00\x00\x00\x01\x00EWR'
    """
    return _START.pack(pane[0]) + pane[1]


def split_pane_key(key: bytes) -> Pane:
    """Return what ``pane_key`` was made of.

    >>> split_pane_key(pane_key((-5, b"EWR")))
    (-5, b'EWR')
    """
    return _START.unpack_from(key)[0], key[_START.size :]
