"""Reading the changelogs of tables: fast, in columns, a bounded piece at a time."""

from __future__ import annotations

import time
from collections.abc import Collection, Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

from confluent_kafka import Message

from streamserve.errors import ConfigurationError
from streamserve.kafka.calls import Calls
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.kafka.whole import READ_SECONDS, WholeReader
from streamserve.settings import Settings

__all__ = ["ChangelogColumns", "ChangelogReader"]

_READ_RECORDS = 10_000
_FETCH = {"queued.min.messages": 20_000, "queued.max.messages.kbytes": 16 << 10, "fetch.message.max.bytes": 1 << 20}
"""Enough ahead for the next step, without a large share of memory for each partition. The end of a short changelog is
told behind what was fetched of long ones by then: half a million records and more with the size that other readers
fetch, a tenth of that so, at no higher cost (measured)."""


class ChangelogColumns(NamedTuple):
    """Records of one partition, in order: the value of each key, ``None`` where it was deleted."""

    place: TopicPartitionKey
    keys: list[bytes]
    values: list[bytes | None]


class ChangelogReader:
    """Reads changelogs from given offsets to the end that they have at ``request``.

    Of a key that changed more than once, the last record holds. See ``WholeReader`` for what counts as the end.

    Raises (from every method):
        BrokerUnavailable: no broker answers.
        ConfigurationError: the broker refuses the reader, or a changelog is not the one that was written.
    """

    def __init__(self, app: str, settings: Settings, calls: Calls) -> None:
        self._reader = WholeReader(app, settings, calls, **_FETCH)
        self._starts: dict[TopicPartitionKey, int] = {}
        self._ends: dict[TopicPartitionKey, int] = {}
        self._positions: dict[TopicPartitionKey, int] = {}

    def request(self, places: Mapping[TopicPartitionKey, int], *, follows: bool = False) -> None:
        """Begin to read each of ``places`` from its offset on; 0 reads all there is. ``follow`` needs ``follows``.

        Raises:
            ConfigurationError: a changelog ends before its offset.
        """
        for place, offset in places.items():
            self.add(place, offset)
        self.begin(follows=follows)

    def add(self, place: TopicPartitionKey, offset: int) -> None:
        """Let ``begin`` read ``place`` from ``offset`` on, to the end that it has now.

        Raises:
            ConfigurationError: the changelog ends before ``offset``.
        """
        low, end = self._reader.ends(*place)
        start = max(low, offset)
        if start > end:
            raise _cut_off(place, offset, end)
        self._starts[place] = self._positions[place] = start
        self._ends[place] = end

    def begin(self, *, follows: bool = False) -> None:
        """Begin to read what was added, all at once."""
        wanted = {place: start for place, start in self._starts.items() if follows or start < self._ends[place]}
        self._reader.begin(wanted, self._ends)

    def step(self) -> list[ChangelogColumns] | None:
        """Return what was read in the next 50 ms or so; ``None`` once every place was read to its end."""
        columns: list[ChangelogColumns] = []
        until = time.monotonic() + READ_SECONDS
        while self._reader.unread and (left := until - time.monotonic()) > 0:
            columns += self.read(_READ_RECORDS, left)
        return columns if columns or self._reader.unread else None

    def read(self, limit: int, wait_seconds: float) -> list[ChangelogColumns]:
        """Return up to ``limit`` records that are at hand; with none wait up to ``wait_seconds`` for the first.

        Some may lie behind the end.
        """
        return self._columns(self._reader.read(limit, wait_seconds))

    def _columns(self, messages: Sequence[Message]) -> list[ChangelogColumns]:
        """Take ``messages`` apart; those of one partition come in long runs."""
        columns: list[ChangelogColumns] = []
        places = zip(map(Message.topic, messages), map(Message.partition, messages), strict=True)
        start = 0
        for (topic, partition), rows in groupby(places):
            run = messages[start : (start := start + len(list(rows)))]
            place = (topic or "", partition or 0)
            self._positions[place] = (run[-1].offset() or 0) + 1
            columns.append(ChangelogColumns(place, [*map(_key, run)], [*map(Message.value, run)]))
        return columns

    def follow(self) -> list[ChangelogColumns]:
        """Return what is at hand beyond the end, without waiting: once ``step`` has returned ``None``."""
        return self.read(_READ_RECORDS, 0.0)

    @property
    def unread(self) -> Collection[TopicPartitionKey]:
        """Return the places that are not read to their ends yet."""
        return self._reader.unread.keys()

    def leave(self, places: Collection[TopicPartitionKey]) -> None:
        """Read no more of ``places``: who goes on with what they hold writes to them."""
        self._reader.leave(places)

    def end(self, place: TopicPartitionKey) -> int:
        """Return the offset after the last of a changelog, as an uncommitted reader sees it."""
        return self._reader.ends(*place)[1]

    def position(self, place: TopicPartitionKey) -> int:
        """Return the first offset of a changelog that was not given out."""
        return self._positions[place]

    def progress(self) -> tuple[int, int]:
        """Return how many offsets have been passed, and how many there are to pass."""
        total = sum(self._ends.values()) - sum(self._starts.values())
        left = sum(max(0, end - self._positions[place]) for place, end in self._reader.unread.items())
        return total - left, total

    def close(self) -> None:
        """Let go of the reader."""
        self._reader.close()


def _key(message: Message) -> bytes:
    return message.key() or b""


def _cut_off(place: TopicPartitionKey, offset: int, end: int) -> ConfigurationError:
    topic, partition = place
    return ConfigurationError(
        f"the changelog {topic}[{partition}] ends at offset {end}, before {offset}, where the committed offsets say it"
        " goes on: was it deleted? To go on with empty state, stop all workers and call 'streamserve offsets reset"
        " MODULE:APP --to committed --empty-state'."
    )
