"""The windows of one aggregate in one partition group, with their place in the changelog."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import compress
from typing import Any, Generic, TypeVar

import msgspec

from streamserve.aggregates import Aggregate
from streamserve.errors import ConfigurationError, RecordError
from streamserve.state.base import Changes
from streamserve.state.format import VERSION, check_versions
from streamserve.state.windows.accumulators import Accumulator
from streamserve.state.windows.aligned import TumblingWindows
from streamserve.state.windows.base import Pane, WindowResult, Windows, pane_key, split_pane_key
from streamserve.state.windows.columns import column_of
from streamserve.state.windows.moving import MovingWindows
from streamserve.state.windows.rolling import BEFORE_ALL
from streamserve.state.windows.sessions import SessionWindows
from streamserve.state.windows.spec import WindowSpec
from streamserve.state.windows.values import accumulator_of

__all__ = ["WindowedState"]

A = TypeVar("A")

_CLOCK_KEY = b"clock"
"""Shorter than every pane's key."""

_PREFIX = bytes([VERSION])


class _Clock(msgspec.Struct, array_like=True, frozen=True):
    """How far time has come, from when on rows may still count, and of what the panes are."""

    watermark_ms: int
    oldest_ms: int
    spec: str
    aggregate: str


_encode_clock = msgspec.msgpack.Encoder().encode
_decode_clock = msgspec.msgpack.Decoder(_Clock).decode


class WindowedState(Generic[A]):
    """An aggregate over windows of event time, by record key, for one partition group.

    Rows are asked for and counted in the order of processing: what a row sees is what was counted before it and
    belongs to its window (see the functions that make a ``WindowSpec``), itself included. In event-time order that is
    the window's content up to its own time.

    *Late*: a row older than the watermark less the grace is not counted but in ``late``; it sees what is left of its
    window. Rows without a key are not counted and see ``None``. Event times are milliseconds since the epoch, UTC.

    *Changelog*: one record for each pane (a tumbling window, a hop's step, a millisecond of a sliding window, a
    session) and key, under eight bytes of the pane's start, big-endian and signed, and the record key; and one under
    ``clock`` with the watermark. An event writes one pane.

    A row at fault, on which a function of a custom aggregate raises perhaps, changes nothing. Such aggregates are taken
    row by row, which costs a few microseconds each.

    >>> from streamserve import aggregates
    >>> from streamserve.state.windows import hopping
    >>> state = WindowedState("delays", hopping("1h", step="30m"), aggregates.mean("delay"))
    >>> state.observe([b"EWR", b"EWR"], [0, 1_800_000], [{"delay": 10}, {"delay": 20}])
    [10.0, 15.0]
    >>> state.read([b"EWR", b"LGA"], [3_600_000, 3_600_000])
    [20.0, None]
    """

    def __init__(self, name: str, spec: WindowSpec, aggregate: Aggregate[A]) -> None:
        self.name = name
        self.spec = spec
        self.aggregate = aggregate
        self.late = 0
        self._watermark = self._oldest = BEFORE_ALL
        self._clock_dirty = False
        self._accumulator = accumulator_of(aggregate)
        self._windows: Windows[A] = _windows_of(spec, self._accumulator)
        self._stored: dict[bytes, bytes | None] = {}

    @property
    def watermark_ms(self) -> int:
        """How far time has come: the latest that ``closed`` or ``advance`` was told."""
        return self._watermark

    @property
    def live_keys(self) -> int:
        """How many keys have a state."""
        return self._windows.live_keys()

    def observe(self, keys: Sequence[bytes | None], times_ms: Sequence[int], values: Sequence[Any]) -> list[A | None]:
        """Count rows, and return what each sees, itself included; see ``run``."""
        return self.run(keys, times_ms, values, [True] * len(keys))

    def read(self, keys: Sequence[bytes | None], times_ms: Sequence[int]) -> list[A | None]:
        """Return what rows at these times see, without counting them."""
        rows = len(keys)
        return self._windows.run(keys, times_ms, [None] * rows, [False] * rows)

    def at(self, key: bytes | None, time_ms: int) -> A | None:
        """Return what one row sees, without counting it."""
        return self._windows.run((key,), (time_ms,), (None,), (False,))[0]

    def run(
        self,
        keys: Sequence[bytes | None],
        times_ms: Sequence[int],
        values: Sequence[Any],
        is_update: Sequence[bool],
    ) -> list[A | None]:
        """Go through rows of one length in order: count those with ``is_update``, and return what each sees.

        ``values`` are the events; those of rows that only read are not looked at.

        Raises:
            RecordError: what ``count`` would tell of the first row at fault.
        """
        answers, faults = self.count(keys, times_ms, values, is_update)
        for fault in faults.values():
            raise fault
        return answers

    def count(
        self,
        keys: Sequence[bytes | None],
        times_ms: Sequence[int],
        values: Sequence[Any],
        is_update: Sequence[bool],
    ) -> tuple[list[A | None], dict[int, RecordError]]:
        """Do what ``run`` does, and return what is wrong with rows that are not counted for it, by row.

        Such a row sees what it would without itself, ``None`` where even that fails; all others see and leave what they
        would if it were not there. At fault is an event that lacks the aggregate's field or has a value of a type that
        it cannot take (``WindowError``), and one on which a function of the user raises (``AgentError``).
        """
        faults: dict[int, RecordError] = {}
        column, is_update = self._column(values, is_update, faults)
        if times_ms and min(times_ms) < self._oldest:
            is_update = self._without_late(keys, times_ms, is_update)
        if not self._accumulator.fallible:
            return self._windows.run(keys, times_ms, column, is_update), faults
        return self._one_by_one(keys, times_ms, column, is_update, faults), faults

    def _one_by_one(
        self,
        keys: Sequence[bytes | None],
        times_ms: Sequence[int],
        column: Sequence[Any],
        is_update: Sequence[bool],
        faults: dict[int, RecordError],
    ) -> list[A | None]:
        """Run rows one after the other, each undone where it raises; note its fault."""
        answers: list[A | None] = []
        for row, (key, time_ms, value, update) in enumerate(zip(keys, times_ms, column, is_update, strict=True)):
            if key is None:
                answers.append(None)
                continue
            undo = self._windows.checkpoint(key, time_ms)
            try:
                answers += self._windows.run((key,), (time_ms,), (value,), (update,))
            except RecordError as fault:
                undo()
                faults.setdefault(row, fault)
                answers.append(self._seen_without(key, time_ms) if update else None)
        return answers

    def _seen_without(self, key: bytes, time_ms: int) -> A | None:
        undo = self._windows.checkpoint(key, time_ms)
        try:
            return self.at(key, time_ms)
        except RecordError:
            undo()
            return None

    def result_at(self, key: bytes, time_ms: int, value: A) -> WindowResult[A]:
        """Return what a row that was just counted makes of the window that it sees: for results on every change.

        A row of hopping windows belongs to further hops, which end later: their results come with later rows. A session
        that grows has a new end each time, and a new start where a row out of order extends it to the front or joins it
        with another.
        """
        return WindowResult(key, *self._windows.bounds(key, time_ms), value)

    def closed(self, watermark_ms: int) -> list[WindowResult[A]]:
        """Move time to ``watermark_ms``, and return the windows that have ended, grace included, each once.

        They come in order of end, then key; for hopping windows, every hop that holds an event; for sliding ones,
        none. A watermark that goes back changes nothing.
        """
        results = self._advance(watermark_ms, results=True)
        results.sort(key=lambda result: (result.end_ms, result.key))
        return results

    def advance(self, watermark_ms: int) -> None:
        """Move time to ``watermark_ms`` as ``closed`` does, where nobody wants the results."""
        self._advance(watermark_ms, results=False)

    def _advance(self, watermark_ms: int, *, results: bool) -> list[WindowResult[A]]:
        if watermark_ms <= self._watermark:
            return []
        self._watermark = watermark_ms
        self._oldest = max(self._oldest, watermark_ms - self.spec.grace_ms)
        self._clock_dirty = True
        return self._windows.close(self._oldest, results=results)

    def _column(
        self, values: Sequence[Any], is_update: Sequence[bool], faults: dict[int, RecordError]
    ) -> tuple[list[Any], Sequence[bool]]:
        """Return each row's value, and which rows are counted; of those without one, note the faults."""
        column: list[Any] = [None] * len(values)
        places = list(compress(range(len(values)), is_update))
        try:
            found = column_of(self.aggregate, values if len(places) == len(values) else [values[row] for row in places])
        except RecordError:
            return self._column_one_by_one(values, is_update, faults)
        if len(places) == len(values):
            return found, is_update
        for place, value in zip(places, found, strict=True):
            column[place] = value
        return column, is_update

    def _column_one_by_one(
        self, values: Sequence[Any], is_update: Sequence[bool], faults: dict[int, RecordError]
    ) -> tuple[list[Any], Sequence[bool]]:
        column: list[Any] = [None] * len(values)
        for row in compress(range(len(values)), is_update):
            try:
                (column[row],) = column_of(self.aggregate, [values[row]])
            except RecordError as fault:
                faults[row] = fault
        return column, [update and row not in faults for row, update in enumerate(is_update)]

    def _without_late(
        self, keys: Sequence[bytes | None], times_ms: Sequence[int], is_update: Sequence[bool]
    ) -> list[bool]:
        counted = [update and time >= self._oldest for update, time in zip(is_update, times_ms, strict=True)]
        self.late += sum(
            update and not kept and key is not None for key, update, kept in zip(keys, is_update, counted, strict=True)
        )
        return counted

    def take_changes(self) -> Changes:
        """Return changelog keys and values of what changed since the last call; ``None`` is a tombstone."""
        panes = self._windows.take_panes()
        keys = [pane_key(pane) for pane, _ in panes]
        values = [None if data is None else _PREFIX + data for _, data in panes]
        if keys or self._clock_dirty:
            clock = _Clock(self._watermark, self._oldest, self.spec.format, self.aggregate.format)
            keys.append(_CLOCK_KEY)
            values.append(_PREFIX + _encode_clock(clock))
        self._clock_dirty = False
        return keys, values

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take changelog records back in the order of the log.

        Raises:
            ConfigurationError: a record has a format version that this release does not know.
        """
        check_versions(self.name, values)
        self._stored.update(zip(keys, values, strict=True))

    def loaded(self) -> None:
        """Go on where the changelog ends.

        Raises:
            ConfigurationError: the changelog belongs to another kind of window or aggregate.
        """
        clock = self._stored.pop(_CLOCK_KEY, None)
        if clock is not None:
            self._take_clock(_decode_clock(memoryview(clock)[1:]))
        panes = [(split_pane_key(key), value[1:]) for key, value in self._stored.items() if value is not None]
        panes.sort(key=_start_of)
        self._windows.restore(panes, self._oldest)
        self._stored = {}

    def _take_clock(self, clock: _Clock) -> None:
        found = (clock.spec, clock.aggregate)
        wanted = (self.spec.format, self.aggregate.format)
        if found != wanted:
            raise ConfigurationError(
                f"window {self.name!r}: its changelog holds {found[1]} over {found[0]} ms, but the app now declares "
                f"{wanted[1]} over {wanted[0]} ms. Give the new window another name, or delete the changelog topic to "
                "start it anew."
            )
        self._watermark, self._oldest = clock.watermark_ms, clock.oldest_ms


def _start_of(stored: tuple[Pane, bytes]) -> int:
    return stored[0][0]


def _windows_of(spec: WindowSpec, accumulator: Accumulator[Any, A]) -> Windows[A]:
    if spec.kind == "tumbling":
        return TumblingWindows(spec, accumulator)
    if spec.kind == "session":
        return SessionWindows(spec, accumulator)
    return MovingWindows(spec, accumulator)
