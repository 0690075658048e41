"""The rows of one topic partition between their arrival and their turn: in the log's order, or in that of event time.

What a restart needs to take the same rows up again stands in ``Progress``, which goes into the offset's metadata.
"""

from __future__ import annotations

import heapq
from collections import deque
from typing import Any, NamedTuple, Protocol, TypeAlias

from streamserve.dataflow.arriving.channels import IDLE_MS, Marker, channel_of
from streamserve.dataflow.arriving.future import is_future
from streamserve.dataflow.batch import NEVER
from streamserve.errors import EngineRestart, FutureRecord, LateRecord, RecordError
from streamserve.kafka.marks import Limits, Progress
from streamserve.records import RawRecord

Place: TypeAlias = tuple[int, int]
"""Where a row stands in event time: its time in milliseconds, and its offset, which breaks ties.

A late row stands where time had come to when it came, behind everything before that and before everything else.
"""

_BEGINNING: Place = (NEVER, -1)

_LATE = 1 << 53
"""Late rows are placed by their offset less this, so before all others of one time."""


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

    def is_idle(self, *, silent: bool) -> bool:
        """Return whether nothing is held and nothing is to be expected; ``silent``: nothing came for a while."""
        ...

    def turn_ms(self) -> int:
        """Return the time before which everything is in as the next row's turn comes; ``NEVER`` where none is known.

        It goes by rows and their order alone, whatever else was read by then.
        """
        ...

    def pop(self) -> Row:
        """Return the row that is next."""
        ...

    def progress(self) -> Progress:
        """Return how far this has come: what is popped counts as done."""
        ...

    def backlog(self) -> int:
        """Return how many rows are held back by other topics alone: reading on would only add to them."""
        ...


_Newest: TypeAlias = tuple[int | None, ...]

_Stand: TypeAlias = tuple[_Newest, int | None, int | None]
"""What ``Lateness`` knew before a row: the newest times, and what they alone do not tell: watermark and latest time."""

_NOTHING = Progress(0)


class Lateness:
    """Tells which rows of one topic partition come later than allowed, from the order of the log alone.

    Rows come in ``channels``: one, or one for each partition that the topic was regrouped from, each of which is in
    order by itself. A row is late when its time is behind the watermark: the newest time of that channel
    which is furthest behind, idle ones left out, less what rows may be late. Where all are idle it is that of the one
    which had come furthest, whichever was idle first. It never goes back.

    It goes on where ``start`` was left, with the limits that held there up to what was seen.

    >>> lateness = Lateness(Limits(10))
    >>> [lateness.see(time) for time in (100, 90, 89, 105, 94)]
    [False, False, True, False, True]
    >>> two = Lateness(Limits(), channels=2)
    >>> two.see(100, 0), two.watermark_ms, two.see(50, 1), two.watermark_ms, two.see(40, 0)
    (False, None, False, 50, True)
    """

    def __init__(self, limits: Limits, channels: int = 1, start: Progress = _NOTHING) -> None:
        self._rules = _rules(limits, start)
        self._limits = self._rules[0][1]
        self._times: list[int | None] = [*start.newest, *[None] * (channels - len(start.newest))]
        self.newest: _Newest = tuple(self._times)
        self._latest_ms = start.latest_ms
        for time_ms in self._times:
            self._see_latest(time_ms)
        self.watermark_ms = start.watermark_ms
        """The time before which no row is expected any more."""
        self._move()

    @property
    def stand(self) -> _Stand:
        """Return the newest times, the watermark and the latest time, from which a restart can go on."""
        return self.newest, self.watermark_ms, self._latest_ms

    def rules_from(self, offset: int) -> tuple[tuple[int, Limits], ...]:
        """Return the limits that hold from ``offset`` on: pairs of an offset and what is allowed from there."""
        last = max(place for place, (since, _) in enumerate(self._rules) if since <= offset or not place)
        return self._rules[last:]

    def enter(self, row: Row) -> Row:
        """Let the limits hold that are due at ``row``, the next of the log; return it, with a fault if it breaks them.

        A row of the future takes the newest time before it: it waits for nothing, and moves no time on.
        """
        if len(self._rules) > 1:
            self._limits = self.rules_from(row.offset)[0][1]
            self._move()
        if isinstance(row.value, RecordError) or not is_future(row.record, row.time_ms, self._limits.future_ms):
            return row
        known = [time_ms for time_ms in self._times if time_ms is not None and time_ms != IDLE_MS]
        return row._replace(value=FutureRecord(row.topic), time_ms=max(known, default=_BEGINNING[0]))

    @property
    def all_idle(self) -> bool:
        """Return whether every channel has said that nothing is to be expected."""
        return all(time_ms == IDLE_MS for time_ms in self.newest)

    def see(self, time_ms: int, channel: int = 0) -> bool:
        """Take note of the next row's time; return whether it is late."""
        self.advance(time_ms, channel)
        return self.watermark_ms is not None and time_ms < self.watermark_ms

    def place_of_late(self, offset: int) -> Place:
        """Return where a late row stands that has just been seen."""
        return NEVER if self.watermark_ms is None else self.watermark_ms, offset - _LATE

    def advance(self, time_ms: int, channel: int) -> None:
        """Take note that ``channel`` has come to ``time_ms``; one that was idle speaks again.

        Raises:
            EngineRestart: there are more channels than there were at the start.
        """
        if channel >= len(self._times):
            raise EngineRestart(f"partition {channel} was added to a topic that is regrouped")
        before = self._times[channel]
        if before is None or before == IDLE_MS or time_ms > before:
            self._times[channel] = time_ms
            self.newest = tuple(self._times)
            self._see_latest(time_ms)
            self._move()

    def _see_latest(self, time_ms: int | None) -> None:
        if time_ms is not None and time_ms != IDLE_MS and (self._latest_ms is None or time_ms > self._latest_ms):
            self._latest_ms = time_ms

    def _move(self) -> None:
        low = self._low()
        if low is not None:
            low -= self._limits.late_ms
            self.watermark_ms = low if self.watermark_ms is None else max(low, self.watermark_ms)

    def _low(self) -> int | None:
        """Return the time that counts, ``None`` while some channel has not been heard of."""
        speaking = [time_ms for time_ms in self._times if time_ms != IDLE_MS]
        if not speaking:
            return self._latest_ms
        known = [time_ms for time_ms in speaking if time_ms is not None]
        return min(known) if len(known) == len(speaking) else None


def _rules(limits: Limits, start: Progress) -> tuple[tuple[int, Limits], ...]:
    """Return the limits that held where rows were left half done, and from what was seen on ``limits``."""
    if not start.skips or not start.allowed:
        return ((start.position, limits),)
    if start.allowed[-1][1] == limits:
        return start.allowed
    return (*start.allowed, (start.seen or 0, limits))


class _Before:
    """Tells which rows were done before a restart: those that wait for nothing, and those before a frontier.

    Only of rows below ``seen``; what is late has to be told by the lateness that held when they were seen.
    """

    __slots__ = ("frontier", "seen")

    def __init__(self, start: Progress) -> None:
        self.seen = start.seen or 0
        self.frontier = start.frontier or _BEGINNING

    def did(self, offset: int, place: Place, *, first: bool) -> bool:
        """Return whether the row of ``offset`` was done; ``first`` where it waits for nothing."""
        return offset < self.seen and (first or place < self.frontier)


class InLogOrder:
    """Rows in the order of the log.

    With ``refuses_late`` a late row's value becomes a ``LateRecord``, for its topic's policy. Rows that another release
    of the app took in the order of their times are left out.
    """

    def __init__(self, limits: Limits, start: Progress, *, refuses_late: bool) -> None:
        self._lateness = Lateness(limits, start=start)
        self._before = _Before(start)
        self._allowed_ms = limits.late_ms
        self._refuses_late = refuses_late
        self._rows: deque[tuple[Row, _Stand]] = deque()
        self._position = start.position
        self._stand: _Stand = (start.newest, start.watermark_ms, start.latest_ms)

    def hold(self, row: Row) -> None:
        """Take the next row of the log, unless it was done before the restart."""
        row = self._lateness.enter(row)
        timeless = isinstance(row.value, RecordError)
        late = not timeless and self._lateness.see(row.time_ms)
        place = self._lateness.place_of_late(row.offset) if late else (row.time_ms, row.offset)
        if self._before.did(row.offset, place, first=timeless or (late and self._refuses_late)):
            return
        if late and self._refuses_late:
            row = row._replace(value=LateRecord(row.topic))
        self._rows.append((row, self._lateness.stand))

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

    def is_idle(self, *, silent: bool) -> bool:
        """Return whether it is silent, and all is popped."""
        return silent and not self._rows

    def turn_ms(self) -> int:
        """Return the newest time popped, less what rows may be late."""
        watermark_ms = self.watermark_ms()
        return NEVER if watermark_ms is None else watermark_ms

    def pop(self) -> Row:
        """Return the next row."""
        row, self._stand = self._rows.popleft()
        self._position = row.offset + 1
        return row

    def progress(self) -> Progress:
        """Return the offset after the last row popped, and the newest time up to it."""
        newest, watermark_ms, _ = self._stand
        if self._position >= self._before.seen:
            return Progress(self._position, newest)
        rules = self._lateness.rules_from(self._position)
        return Progress(self._position, newest, self._before.seen, self._before.frontier, watermark_ms, rules)

    def watermark_ms(self) -> int | None:
        """Return the newest time popped, less what rows may be late."""
        newest = self._stand[0][0] if self._stand[0] else None
        return None if newest is None else newest - self._allowed_ms

    def backlog(self) -> int:
        """Return how many rows are held."""
        return len(self._rows)


class InTimeOrder:
    """Rows in the order of their times, each held until no earlier one is allowed to come.

    A late row stands where time had come to when it came: behind what had to go before it and before what still waits,
    however the log was read. One that is refused (``refuses_late``: its value becomes a ``LateRecord``), or that has no
    time since it did not decode, goes first, whatever waits.

    Popped is exactly what is refused, has no time, or stands before the *frontier*. So two numbers tell a restart,
    which reads from the first row that was still held, which of the rows after it are done: those below ``seen`` that
    are refused, have no time, or stand before the frontier. Whether a row is late, and where it stands then, follows
    from the log's order and from what ``Lateness`` knew before that first row. Nothing is popped before the log was
    read up to ``seen`` again: the frontier would move past rows that are still to come.

    A topic that was regrouped from others has ``channels``: markers between its rows tell how far each has come, so it
    is never taken for idle because it is silent, nor for caught up.
    """

    def __init__(self, limits: Limits, start: Progress, *, refuses_late: bool, channels: int | None = None) -> None:
        self._lateness = Lateness(limits, channels or 1, start)
        self._has_channels = channels is not None
        self._refuses_late = refuses_late
        self._before = _Before(start)
        self._seen = start.position
        self._frontier = self._before.frontier
        self._first: deque[Row] = deque()
        self._heap: list[tuple[int, int, Row]] = []
        self._open: deque[tuple[int, _Stand]] = deque()
        """Offsets in the log's order, each with what was known before it; those done are dropped from the front."""
        self._done: set[int] = set()

    def hold(self, row: Row) -> None:
        """Take the next row of the log, unless it was done before the restart."""
        row = self._lateness.enter(row)
        offset, place = row.offset, (row.time_ms, row.offset)
        self._open.append((offset, self._lateness.stand))
        self._seen = max(self._seen, offset + 1)
        if isinstance(row.value, Marker):
            self._lateness.advance(row.time_ms, row.value.channel)
            self._done.add(offset)
            return
        timeless = isinstance(row.value, RecordError)
        channel = channel_of(row.record) if self._has_channels else 0
        late = not timeless and self._lateness.see(row.time_ms, channel)
        if late and not self._refuses_late:
            place = self._lateness.place_of_late(offset)
        if self._before.did(offset, place, first=timeless or (late and self._refuses_late)):
            self._done.add(offset)
        elif timeless:
            self._first.append(row)
        elif (late and self._refuses_late) or place < self._frontier:
            self._first.append(row._replace(value=LateRecord(row.topic)) if self._refuses_late else row)
        else:
            heapq.heappush(self._heap, (*place, row))

    def head_ms(self, *, idle: bool) -> int | None:
        """Return the time of the next row that may go."""
        if self._has_channels:
            idle = self._lateness.all_idle
        elif idle:  # all that there is was read
            self._before.seen = 0
        if self._rereads:
            return None
        if self._first:
            return self._first[0].time_ms
        if not self._heap:
            return None
        watermark = self._lateness.watermark_ms
        time_ms, place, _ = self._heap[0]
        sure = watermark is not None and (time_ms < watermark or place < 0)
        return time_ms if idle or sure else None

    def bound_ms(self) -> int | None:
        """Return the time from which on rows may still come."""
        watermark = self._lateness.watermark_ms
        if self._rereads:
            return _BEGINNING[0]
        if self._has_channels and self._lateness.all_idle:
            return IDLE_MS
        if self._has_channels and watermark is None:
            return _BEGINNING[0]
        return watermark if self._heap or self._has_channels else None

    def watermark_ms(self) -> int | None:
        """Return the time before which all is popped: the watermark, unless rows before it wait for other topics."""
        watermark, popped = self._lateness.watermark_ms, self._frontier[0]
        if self._rereads or (watermark is None and popped == _BEGINNING[0]):
            return None
        if watermark is None:  # some channels have only ever been idle: what was popped is done all the same
            return popped
        return max(popped, min(watermark, self._heap[0][0]) if self._heap else watermark)

    @property
    def _rereads(self) -> bool:
        return self._seen < self._before.seen

    @property
    def is_urgent(self) -> bool:
        """Return whether rows wait that count as done as soon as they have been seen."""
        return bool(self._first) and not self._rereads

    def is_idle(self, *, silent: bool) -> bool:
        """Return whether it is silent, or all of its channels said so, and all is popped."""
        quiet = self._lateness.all_idle if self._has_channels else silent
        return quiet and not (self._rereads or self._first or self._heap)

    def turn_ms(self) -> int:
        """Return the time at which the next row stands: everything before it has been popped."""
        popped = self._frontier[0]
        return popped if self._first else max(popped, self._heap[0][0])

    def pop(self) -> Row:
        """Return the next row."""
        if self._first:
            row = self._first.popleft()
        else:
            time_ms, place, row = heapq.heappop(self._heap)
            self._frontier = (time_ms, place + 1)
        self._done.add(row.offset)
        return row

    def progress(self) -> Progress:
        """Return the first offset still held, and what tells which rows after it are done."""
        while self._open and self._open[0][0] in self._done:
            self._done.discard(self._open.popleft()[0])
        position, stand = self._open[0] if self._open else (self._seen, self._lateness.stand)
        newest, watermark_ms, latest_ms = stand
        seen, rules = max(self._seen, self._before.seen), self._lateness.rules_from(position)
        latest_ms = latest_ms if self._has_channels else None
        return Progress(position, newest, seen, self._frontier, watermark_ms, rules, latest_ms)

    def backlog(self) -> int:
        """Return how many rows are held, or none where they wait for rows of their own topic: it has to be read on."""
        return 0 if self.head_ms(idle=False) is None else len(self._first) + len(self._heap)
