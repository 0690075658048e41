"""Reading a topic to look at it: from any place on, what is committed, as a member of no group."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import datetime
from typing import Literal, TypeAlias, cast

from streamserve.errors import TopicError
from streamserve.kafka.admin import Admin
from streamserve.kafka.calls import Calls
from streamserve.kafka.whole import WholeReader
from streamserve.records import RawRecord, to_epoch_ms
from streamserve.settings import Settings

__all__ = ["Start", "TopicBrowser", "browsing"]

Start: TypeAlias = Literal["beginning", "end"] | int | datetime
"""Where to begin in every partition: at an offset (below zero: so many before the end), or at a record's time."""

_BATCH = 10_000
_FETCH_WAIT_MS = 100
"""How long the broker waits for what is not there: it tells of an end only after that."""
_STALL_SECONDS = 3.0
"""A reader waits so long for a transaction that is open in its way: longer than any that is not left behind."""


class TopicBrowser:
    """Reads one topic; nothing is committed, and no worker notices.

    Raises (from every method): ``BrokerUnavailable``; ``ConfigurationError`` where the broker refuses the reader;
    ``TopicError`` where there is no such topic.
    """

    def __init__(self, app: str, topic: str, settings: Settings) -> None:
        self._topic = topic
        partitions = Admin(settings).partitions().get(topic)
        if partitions is None:
            raise TopicError(
                f"topic {topic!r} does not exist on {settings.bootstrap_servers}: 'streamserve topics create"
                " MODULE:APP' creates it"
            )
        self.is_held_back = False
        """Whether ``read`` came to an end before the topic's: a transaction is open there."""
        self._places = [(topic, partition) for partition in range(partitions)]
        self._reader = WholeReader(app, settings, Calls(), **{"fetch.wait.max.ms": _FETCH_WAIT_MS})

    def read(self, start: Start, *, follow: bool = False) -> Generator[RawRecord]:
        """Yield what is committed from ``start`` up to the end that the topic has now, or for ever with ``follow``.

        Partitions come interleaved, each in order. Within one, a time begins at the first record that is not older.
        Transactions that are open are waited for, 3 s each at most.
        """
        ends = {place: self._reader.ends(*place) for place in self._places}
        starts = {(topic, number): self._start(number, start, *ends[topic, number]) for topic, number in self._places}
        wanted = {place: offset for place, offset in starts.items() if follow or offset < ends[place][1]}
        self._reader.begin(wanted, {place: end for place, (_, end) in ends.items()})
        moved = time.monotonic()
        while follow or (self._reader.unread and time.monotonic() - moved < _STALL_SECONDS):
            for record in cast("list[RawRecord]", self._reader.read(_BATCH)):
                moved = time.monotonic()
                if follow or (record.offset() or 0) < ends[self._topic, record.partition() or 0][1]:
                    yield record
        self.is_held_back = bool(self._reader.unread)

    def _start(self, partition: int, start: Start, low: int, high: int) -> int:
        """Return the offset at which to begin in one partition."""
        match start:
            case "beginning":
                return low
            case "end":
                return high
            case datetime():
                found = self._reader.first_since(self._topic, partition, to_epoch_ms(start))
                return high if found is None else found
            case _:
                return min(max(low, start if start >= 0 else high + start), high)

    def close(self) -> None:
        """Let go of the readers."""
        self._reader.close()


@contextmanager
def browsing(app: str, topic: str, settings: Settings) -> Generator[TopicBrowser]:
    """Open a browser for the block."""
    browser = TopicBrowser(app, topic, settings)
    try:
        yield browser
    finally:
        browser.close()
