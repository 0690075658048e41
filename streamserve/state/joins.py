"""Stream-stream joins: rows of two sides wait for partners of their key within a bound of event time.

Changelog, one record for each buffered row. Key: side (1 byte, 0 left and 1 right), event time and arrival (8 bytes
each, big-endian, the time signed), record key. Value: format version (1 byte), whether the row has had a partner
(1 byte, of sides whose rows come out alone), payload.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import Callable, Iterator, Mapping, Sequence
from heapq import heapify, heappop, heappush
from operator import attrgetter
from struct import Struct
from typing import Literal, NamedTuple, TypeAlias

import msgspec

from streamserve.state.base import Changes
from streamserve.state.format import VERSION, unknown_version

__all__ = ["LONELY", "JoinKind", "Joined", "LoneRow", "Side", "StreamJoin"]

Side: TypeAlias = Literal["left", "right"]
"""One of the two streams of a join."""

JoinKind: TypeAlias = Literal["inner", "left", "outer"]
"""Whose rows come out without a partner too: nobody's, the left's, both sides'."""

_SIDES: tuple[Side, Side] = ("left", "right")
_CODES = {"left": 0, "right": 1}
LONELY: Mapping[JoinKind, tuple[Side, ...]] = {"inner": (), "left": ("left",), "outer": _SIDES}
"""The sides whose rows come out without a partner, by the kind of join."""
_HEADS = Struct(">Bqq")
_FLAGS = Struct(">B?")


class Joined(NamedTuple):
    """A pair: the place in its batch of the row that formed it, the record key, both event times and payloads."""

    position: int
    key: bytes
    left_ms: int
    right_ms: int
    left: bytes
    right: bytes


class LoneRow(NamedTuple):
    """A row that never found a partner."""

    side: Side
    key: bytes
    time_ms: int
    payload: bytes


class _Row(msgspec.Struct, gc=False):
    """A buffered row; ``stored`` once the changelog has it, ``gone`` when it can match no more."""

    side: Side
    key: bytes
    time_ms: int
    arrival: int
    payload: bytes
    matched: bool = False
    stored: bool = False
    gone: bool = False


class StreamJoin:
    """The join of two streams in one partition group; a ``ChangelogState``.

    A left and a right row of one key are a pair when their event times are at most ``within_ms`` apart. Each pair comes
    out once, with the later row to arrive. ``expire`` gives the rows that stayed alone, each once.

    Guarantees: whatever the order of arrival, as long as no row comes after the watermark has passed it, the pairs and
    lone rows are the same. A row that comes later still meets what is still buffered, and is itself given up with the
    next ``expire``. A restore changes nothing. A row is kept until the watermark has passed its time by the bound: this
    bounds memory, and the changelog, which never sees a row that came and went between two commits. Cost of a row: its
    partners, and the logarithm of its key's rows. Not thread-safe.

    Payloads come out as the objects that went in, after a restore as what ``payload`` makes of their bytes.

    >>> join = StreamJoin("trips", within_ms=100, kind="left")
    >>> join.join(["left", "left", "right"], [b"a", b"b", b"a"], [0, 10, 90], [b"L1", b"L2", b"R1"])
    [Joined(position=2, key=b'a', left_ms=0, right_ms=90, left=b'L1', right=b'R1')]
    >>> join.expire(111)
    [LoneRow(side='left', key=b'b', time_ms=10, payload=b'L2')]

    Raises:
        ValueError: the bound is negative.
    """

    def __init__(
        self,
        name: str,
        *,
        within_ms: int,
        kind: JoinKind = "inner",
        payload: Callable[[bytes], bytes] = bytes,
    ) -> None:
        if within_ms < 0:
            raise ValueError(f"join {name!r}: rows cannot be {within_ms} ms apart: give a bound of 0 or more")
        self.name = name
        self.within_ms = within_ms
        self.kind: JoinKind = kind
        self._payload = payload
        self._lonely = LONELY[kind]
        self._buffers: dict[Side, dict[bytes, list[_Row]]] = {"left": {}, "right": {}}
        self._ages: list[tuple[int, int, _Row]] = []
        self._dirty: dict[int, _Row] = {}
        self._arrivals = 0
        self._restored: dict[bytes, bytes] = {}

    def __len__(self) -> int:
        """Return how many rows are buffered."""
        return len(self._ages)

    @property
    def oldest_ms(self) -> int | None:
        """Return the time of the oldest row that is buffered: it goes when the watermark has passed it by the bound."""
        return self._ages[0][0] if self._ages else None

    def join(
        self, sides: Sequence[Side], keys: Sequence[bytes], times_ms: Sequence[int], payloads: Sequence[bytes]
    ) -> list[Joined]:
        """Take in rows in the order of processing; return the pairs that each forms with the rows before it.

        The pairs of a row are in the order of the other side's event time, then arrival.
        """
        pairs: list[Joined] = []
        rows = zip(sides, keys, times_ms, payloads, strict=True)
        for position, (side, key, time_ms, payload) in enumerate(rows):
            row = _Row(side, key, time_ms, self._arrivals, payload)
            partners = self._partners(row)
            if partners:
                self._match(row, partners)
                pairs += [_pair(position, row, partner) for partner in partners]
            self._buffer(row)
        return pairs

    def _partners(self, row: _Row) -> list[_Row]:
        others = self._buffers["right" if row.side == "left" else "left"].get(row.key)
        if not others:
            return []
        first = bisect_left(others, row.time_ms - self.within_ms, key=_time)
        return others[first : bisect_right(others, row.time_ms + self.within_ms, lo=first, key=_time)]

    def _match(self, row: _Row, partners: Sequence[_Row]) -> None:
        row.matched = True
        for partner in partners:
            if not partner.matched:
                partner.matched = True
                if partner.side in self._lonely:
                    self._dirty[partner.arrival] = partner

    def _buffer(self, row: _Row) -> None:
        rows = self._buffers[row.side].setdefault(row.key, [])
        if not rows or rows[-1].time_ms <= row.time_ms:
            rows.append(row)
        else:
            insort(rows, row, key=_time)
        heappush(self._ages, (row.time_ms, row.arrival, row))
        self._dirty[row.arrival] = row
        self._arrivals += 1

    def expire(self, watermark_ms: int) -> list[LoneRow]:
        """Forget what can match no more: rows at or after ``watermark_ms`` are all that is still to come.

        Returns those that never found a partner, of the sides that the kind of join asks for, in the order of event
        time, then arrival.
        """
        limit = watermark_ms - self.within_ms
        expired = list(self._take_before(limit))
        buffers: dict[tuple[Side, bytes], None] = {(row.side, row.key): None for row in expired}
        for side, key in buffers:
            self._cut(side, key, limit)
        lonely = self._lonely
        return [
            LoneRow(row.side, row.key, row.time_ms, row.payload)
            for row in expired
            if not row.matched and row.side in lonely
        ]

    def _take_before(self, limit_ms: int) -> Iterator[_Row]:
        ages = self._ages
        while ages and ages[0][0] < limit_ms:
            row = heappop(ages)[2]
            row.gone = True
            self._dirty[row.arrival] = row
            yield row

    def _cut(self, side: Side, key: bytes, limit_ms: int) -> None:
        buffer = self._buffers[side]
        rows = buffer[key]
        del rows[: bisect_left(rows, limit_ms, key=_time)]
        if not rows:
            del buffer[key]

    def take_changes(self) -> Changes:
        """Return the rows that came, found their first partner or went since the last call, as changelog records."""
        keys: list[bytes] = []
        values: list[bytes | None] = []
        for row in self._dirty.values():
            if row.stored or not row.gone:
                keys.append(_HEADS.pack(_CODES[row.side], row.time_ms, row.arrival) + row.key)
                known_matched = row.matched and row.side in self._lonely  # of others nobody asks, nor is it kept up
                values.append(None if row.gone else _FLAGS.pack(VERSION, known_matched) + row.payload)
                row.stored = True
        self._dirty = {}
        return keys, values

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take changelog records back in the order of the log.

        Raises:
            ConfigurationError: a record has an unknown format version.
        """
        for key, value in zip(keys, values, strict=True):
            if value is None:
                self._restored.pop(key, None)
            elif value[:1] != bytes([VERSION]):
                raise unknown_version(self.name, value)
            else:
                self._restored[key] = value

    def loaded(self) -> None:
        """Build the buffers: the changelog's end is reached."""
        rows = sorted((self._row(key, value) for key, value in self._restored.items()), key=_age)
        self._restored = {}
        for row in rows:
            self._buffers[row.side].setdefault(row.key, []).append(row)
        self._ages = [(row.time_ms, row.arrival, row) for row in rows]
        heapify(self._ages)
        self._arrivals = max((row.arrival + 1 for row in rows), default=0)

    def _row(self, key: bytes, value: bytes) -> _Row:
        side, time_ms, arrival = _HEADS.unpack_from(key)
        _, matched = _FLAGS.unpack_from(value)
        payload = self._payload(value[_FLAGS.size :])
        return _Row(_SIDES[int(side)], key[_HEADS.size :], time_ms, arrival, payload, matched, stored=True)


_time: Callable[[_Row], int] = attrgetter("time_ms")
_age: Callable[[_Row], tuple[int, int]] = attrgetter("time_ms", "arrival")


def _pair(position: int, row: _Row, partner: _Row) -> Joined:
    left, right = (row, partner) if row.side == "left" else (partner, row)
    return Joined(position, row.key, left.time_ms, right.time_ms, left.payload, right.payload)
