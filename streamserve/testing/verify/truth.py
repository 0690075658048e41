"""What the built-in app must have come to, computed from its inputs alone."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from streamserve.testing.reading import ReadRecord
from streamserve.testing.report import InputRecord
from streamserve.testing.verify.inputs import WINDOW_MS, Input, extend, to_window

__all__ = ["Owner", "Pane", "Truth"]

Pane: TypeAlias = tuple[str, int]
"""A key and the start of its window, in milliseconds since the epoch."""

Owner: TypeAlias = tuple[int, str]
"""A partition and a key: what state belongs to."""

_NOTHING = -1
_MATCHED = (("matched", False), ("matched", True))


class _Lane:
    """One input partition: of each input in order its offset, its id, the number of its key and its place among them.

    Inputs that the app must dead-letter have no place: 0.
    """

    __slots__ = ("counts", "ids", "keys", "newest_ms", "offsets")

    def __init__(self) -> None:
        self.offsets, self.ids = array("q"), array("q")
        self.keys, self.counts = array("i"), array("i")
        self.newest_ms = 0

    def place(self, offset: int) -> int | None:
        """Return where the input at ``offset`` stands."""
        place = bisect_left(self.offsets, offset)
        return place if place < len(self.offsets) and self.offsets[place] == offset else None


class Truth:
    """Computed while ``note`` lets the inputs pass; 24 bytes for each, and 16 more in the chain of its key."""

    def __init__(self) -> None:
        self.windows: Counter[Pane] = Counter()
        self.groups: Counter[Pane] = Counter()
        self.scored: Counter[tuple[int, int]] = Counter()
        """Rows that the model was asked, by partition and start of the window."""
        self.labelled: dict[int, tuple[str, bool]] = {}
        """What is to become of each label, and what it says, by the id of its input."""
        self._lanes: dict[int, _Lane] = {}
        self._numbers: dict[Owner, int] = {}
        self._chains: list[array[int]] = []
        self._linked_at: list[array[int]] = []
        """The offset of each link of a chain."""

    def note(self, records: Iterable[ReadRecord]) -> Iterator[InputRecord]:
        """Yield the place of each record, and compute what follows from it."""
        for record in records:
            lane = self._lanes.setdefault(record.partition, _Lane())
            self._enter(lane, record)
            yield InputRecord(record.topic, record.partition, record.offset)

    def _enter(self, lane: _Lane, record: ReadRecord) -> None:
        event = Input.decode(record.value)
        key, count = (_NOTHING, 0) if event is None else self._take(record, event)
        lane.offsets.append(record.offset)
        lane.ids.append(_NOTHING if event is None else event.id)
        lane.keys.append(key)
        lane.counts.append(count)
        if event is not None:
            lane.newest_ms = max(lane.newest_ms, event.at_ms)

    def _take(self, record: ReadRecord, event: Input) -> tuple[int, int]:
        """Count an input that decodes; return the number of its key and its place, 0 where it is refused."""
        partition, start = record.partition, to_window(event.at_ms)
        self.windows[event.key, start] += 1
        self.groups[event.group, start] += 1
        number = self._numbers.setdefault((partition, event.key), len(self._chains))
        if number == len(self._chains):
            self._chains.append(array("q"))
            self._linked_at.append(array("q"))
        if event.is_refused:
            return number, 0
        self.scored[partition, start] += 1
        if event.is_labelled:
            self.labelled[event.id] = _MATCHED[event.truth]
        chain = self._chains[number]
        chain.append(extend(chain[-1] if chain else 0, event.id))
        self._linked_at[number].append(record.offset)
        return number, len(chain)

    def answer(self, partition: int, offset: int) -> tuple[int, int, int] | None:
        """Return id, count and chain that the answer to an input has; a count of 0 says that it has none.

        ``None`` where no input is.
        """
        lane = self._lanes.get(partition)
        place = None if lane is None else lane.place(offset)
        if lane is None or place is None:
            return None
        count = lane.counts[place]
        return lane.ids[place], count, self._chains[lane.keys[place]][count - 1] if count else 0

    def counts_at(self, committed: Mapping[int, int]) -> dict[Owner, int]:
        """Return how many inputs of each key the table has seen when the offsets are ``committed``."""
        return {
            owner: count
            for owner, number in self._numbers.items()
            if (count := bisect_left(self._linked_at[number], committed.get(owner[0], 0)))
        }

    def chain(self, owner: Owner, count: int) -> int | None:
        """Return the chain of a key after ``count`` inputs, ``None`` where it has not so many."""
        number = self._numbers.get(owner)
        chain = array("q") if number is None else self._chains[number]
        return chain[count - 1] if 0 < count <= len(chain) else None

    def has_closed(self, start: int, partition: int | None = None) -> bool:
        """Tell whether event time has passed a window's end: in one partition, or in all of them."""
        lanes = self._lanes.values() if partition is None else [self._lanes[partition]]
        return all(lane.newest_ms >= start + WINDOW_MS for lane in lanes)
