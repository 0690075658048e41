"""The rows of one topic partition between their arrival and their turn: in the log's order, or in that of event time.

What a restart needs to take the same rows up again stands in ``Progress``, which goes into the offset's metadata.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, NamedTuple, Protocol, TypeAlias

from streamserve.dataflow.channels import IDLE_MS, Marker, channel_of
from streamserve.errors import LateRecord, RecordError
from streamserve.kafka.marks import Progress
from streamserve.records import RawRecord

Place: TypeAlias = tuple[int, int]
"""Where a row stands in event time: its time in milliseconds, and its offset, which breaks ties."""

_BEGINNING: Place = (-(1 << 62), -1)


class Row(NamedTuple):
    """A decoded record with its event time; ``value`` is a ``RecordError`` where it goes to no agent."""

    time_ms: int
    topic: str
    record: RawRecord
    value: Any

    @property
    def offset(self) -> int:
        """Return the record's offset."""
        return self.record.offset() or 0


class Arrivals(Protocol):
    """Holds the rows of one topic partition until they are popped."""

    def hold(self, row: Row) -> None:
        """Take the next row of the log."""
        ...

    def head_ms(self, *, idle: bool) -> int | None:
        """Return the time of the row that is next, or ``None`` where none may go yet; ``idle``: no more will come."""
        ...

    def bound_ms(self) -> int | None:
        """Return the least time that a row to come can have, where that holds others back; ``None``: nobody knows."""
        ...

    def watermark_ms(self) -> int | None:
        """Return the time before which everything has been popped and nothing more is expected."""
        ...

    @property
    def is_urgent(self) -> bool:
        """Return whether the row that is next goes before everything else."""
        ...

    def pop(self) -> Row:
        """Return the row that is next."""
        ...

    def progress(self) -> Progress:
        """Return how far this has come: what is popped counts as done."""
        ...

    def __len__(self) -> int:
        """Return how many rows are held that could be let go later; reading on is safe while it is small."""
        ...


_Newest: TypeAlias = tuple[int | None, ...]


class Lateness:
    """Tells which rows of one topic partition come later than allowed, from the order of the log alone.

    Rows come in ``channels``: one, or one for each partition that the topic was regrouped from, each of which is in
    order by itself. A row is late when its time is more than ``allowed_ms`` behind the watermark: the newest time of
    that channel which is furthest behind, idle ones left out. It never goes back.

    >>> lateness = Lateness(allowed_ms=10)
    >>> [lateness.see(time) for time in (100, 90, 89, 105, 94)]
    [False, False, True, False, True]
    >>> two = Lateness(allowed_ms=0, channels=2)
    >>> two.see(100, 0), two.watermark_ms, two.see(50, 1), two.watermark_ms, two.see(40, 0)
    (False, None, False, 50, True)
    """

    def __init__(self, allowed_ms: int, channels: int = 1, newest: _Newest = ()) -> None:
        self._allowed_ms = allowed_ms
        self._times: list[int | None] = [*newest, *[None] * (channels - len(newest))]
        self.newest: _Newest = tuple(self._times)
        self.watermark_ms: int | None = None
        """The time before which no row is expected any more."""
        self._move()

    @property
    def all_idle(self) -> bool:
        """Return whether every channel has said that nothing is to be expected."""
        return all(time_ms == IDLE_MS for time_ms in self.newest)

    def see(self, time_ms: int, channel: int = 0) -> bool:
        """Take note of the next row's time; return whether it is late."""
        self.advance(time_ms, channel)
        return self.watermark_ms is not None and time_ms < self.watermark_ms

    def advance(self, time_ms: int, channel: int) -> None:
        """Take note that ``channel`` has come to ``time_ms``; one that was idle speaks again."""
        before = self._times[channel]
        if before is None or before == IDLE_MS or time_ms > before:
            self._times[channel] = time_ms
            self.newest = tuple(self._times)
            self._move()

    def _move(self) -> None:
        speaking = [time_ms for time_ms in self._times if time_ms != IDLE_MS]
        known = [time_ms for time_ms in speaking if time_ms is not None]
        if known and len(known) == len(speaking):
            low = min(known) - self._allowed_ms
            self.watermark_ms = low if self.watermark_ms is None else max(low, self.watermark_ms)


class InLogOrder:
    """Rows in the order of the log.

    With ``refuses_late`` a late row's value becomes a ``LateRecord``, for its topic's policy.
    """

    def __init__(self, allowed_ms: int, start: Progress, *, refuses_late: bool) -> None:
        self._lateness = Lateness(allowed_ms, newest=start.newest)
        self._allowed_ms = allowed_ms
        self._refuses_late = refuses_late
        self._rows: deque[tuple[Row, _Newest]] = deque()
        self._position = start.position
        self._newest_done = start.newest

    def hold(self, row: Row) -> None:
        """Take the next row of the log."""
        late = not isinstance(row.value, RecordError) and self._lateness.see(row.time_ms)
        if late and self._refuses_late:
            row = row._replace(value=LateRecord(row.topic))
        self._rows.append((row, self._lateness.newest))

    def head_ms(self, *, idle: bool) -> int | None:  # noqa: ARG002 - rows in the log's order wait for nothing
        """Return the time of the next row."""
        return self._rows[0][0].time_ms if self._rows else None

    def bound_ms(self) -> int | None:
        """Return nothing: whatever is held may go."""
        return None

    @property
    def is_urgent(self) -> bool:
        """Return no: each waits for its turn."""
        return False

    def pop(self) -> Row:
        """Return the next row."""
        row, self._newest_done = self._rows.popleft()
        self._position = row.offset + 1
        return row

    def progress(self) -> Progress:
        """Return the offset after the last row popped, and the newest time up to it."""
        return Progress(self._position, self._newest_done)

    def watermark_ms(self) -> int | None:
        """Return the newest time popped, less what rows may be late."""
        newest = self._newest_done[0] if self._newest_done else None
        return None if newest is None else newest - self._allowed_ms

    def __len__(self) -> int:
        return len(self._rows)


class _Start(NamedTuple):
    """What was done before the restart: below ``seen``, what is late, has no time, or stands before ``frontier``."""

    seen: int
    frontier: Place


class InTimeOrder:
    """Rows in the order of their times, each held until no earlier one is allowed to come.

    Popped is exactly what is late, has no time, or stands before the *frontier*. So two numbers tell a restart, which
    reads from the first row that was still held, which of the rows after it are done: those below ``seen`` that are
    late, have no time, or stand before the frontier. Whether a row is late follows from the log's order and
    ``newest`` as of that first row. Nothing is popped before the log was read up to ``seen`` again: the frontier
    would move past rows that are still to come.

    A late row, or one that has no time since it did not decode, goes first, whatever waits; with ``refuses_late`` the
    value of a late one becomes a ``LateRecord``.

    A topic that was regrouped from others has ``channels``: markers between its rows tell how far each has come, so it
    is never taken for idle because it is silent, nor for caught up.
    """

    def __init__(self, allowed_ms: int, start: Progress, *, refuses_late: bool, channels: int | None = None) -> None:
        self._lateness = Lateness(allowed_ms, channels or 1, start.newest)
        self._has_channels = channels is not None
        self._refuses_late = refuses_late
        self._start = _Start(start.seen or 0, start.frontier or _BEGINNING)
        self._seen = start.position
        self._frontier = self._start.frontier
        self._first: deque[Row] = deque()
        self._heap: list[tuple[int, int, Row]] = []
        self._open: deque[tuple[int, _Newest]] = deque()
        """Offsets in the log's order, each with the newest times before it; those done are dropped from the front."""
        self._done: set[int] = set()

    def hold(self, row: Row) -> None:
        """Take the next row of the log, unless it was done before the restart."""
        offset, place = row.offset, (row.time_ms, row.offset)
        self._open.append((offset, self._lateness.newest))
        self._seen = max(self._seen, offset + 1)
        if isinstance(row.value, Marker):
            self._lateness.advance(row.time_ms, row.value.channel)
            self._done.add(offset)
            return
        timeless = isinstance(row.value, RecordError)
        channel = channel_of(row.record) if self._has_channels else 0
        late = not timeless and self._lateness.see(row.time_ms, channel)
        if offset < self._start.seen and (timeless or late or place < self._start.frontier):
            self._done.add(offset)
        elif timeless:
            self._first.append(row)
        elif late or place < self._frontier:
            self._first.append(row._replace(value=LateRecord(row.topic)) if self._refuses_late else row)
        else:
            heapq.heappush(self._heap, (*place, row))

    def head_ms(self, *, idle: bool) -> int | None:
        """Return the time of the next row that may go."""
        if self._has_channels:
            idle = self._lateness.all_idle
        elif idle:  # all that there is was read
            self._start = self._start._replace(seen=0)
        if self._rereads:
            return None
        if self._first:
            return self._first[0].time_ms
        if not self._heap:
            return None
        watermark = self._lateness.watermark_ms
        time_ms = self._heap[0][0]
        return time_ms if idle or (watermark is not None and time_ms < watermark) else None

    def bound_ms(self) -> int | None:
        """Return the time from which on rows may still come."""
        watermark = self._lateness.watermark_ms
        if self._rereads or (self._has_channels and watermark is None):
            return _BEGINNING[0]
        if self._has_channels and self._lateness.all_idle:
            return IDLE_MS
        return watermark if self._heap or self._has_channels else None

    def watermark_ms(self) -> int | None:
        """Return the time before which all is popped: the watermark, unless rows before it wait for other topics."""
        watermark, popped = self._lateness.watermark_ms, self._frontier[0]
        if watermark is None or self._rereads:
            return None
        return max(popped, min(watermark, self._heap[0][0]) if self._heap else watermark)

    @property
    def _rereads(self) -> bool:
        return self._seen < self._start.seen

    @property
    def is_urgent(self) -> bool:
        """Return whether rows wait that count as done as soon as they have been seen."""
        return bool(self._first) and not self._rereads

    def pop(self) -> Row:
        """Return the next row."""
        if self._first:
            row = self._first.popleft()
            self._done.add(row.offset)
            return row
        time_ms, offset, row = heapq.heappop(self._heap)
        self._frontier = (time_ms, offset + 1)
        self._done.add(offset)
        return row

    def progress(self) -> Progress:
        """Return the first offset still held, and what tells which rows after it are done."""
        while self._open and self._open[0][0] in self._done:
            self._done.discard(self._open.popleft()[0])
        position, newest = self._open[0] if self._open else (self._seen, self._lateness.newest)
        return Progress(position, newest, max(self._seen, self._start.seen), self._frontier)

    def __len__(self) -> int:
        return 0 if self._rereads else len(self._first) + len(self._heap)
