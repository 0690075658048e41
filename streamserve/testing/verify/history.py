"""The built-in app's topics on a real Kafka, as the judgement reads them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from streamserve.testing.reading import ReadRecord, end_offsets, iter_topic
from streamserve.testing.verify.judging import History
from streamserve.testing.verify.names import Names
from streamserve.testing.verify.watching import Watched

__all__ = ["Reading"]

_DEADLINE_S = 90.0
"""Longer than a transaction that a killed worker left open."""


class Reading:
    """Reads the topics of the app that is ``watched``, each record once."""

    def __init__(self, watched: Watched) -> None:
        self._watched = watched
        self._names = Names(watched.group)
        self._read_to: dict[tuple[str, int], int] = {}

    def history(self, *, over: bool) -> History:
        """Return what is committed and written now and was not read yet, for a ``Judge`` to read.

        It and its reading raise ``OutageError``, ``BrokerUnavailable`` and ``TopicError`` as the readers do.
        """
        brokers, names = self._watched.brokers, self._names
        before = self._watched.offsets()
        ends = end_offsets(brokers, names.written)

        def read(topic: str) -> Iterable[ReadRecord]:
            bound = end_offsets(brokers, [topic]) if topic == names.inputs else _of(topic, ends)
            return self._go_on(topic, bound)

        return History(names, before, read, self._watched.offsets, over)

    def _go_on(self, topic: str, ends: dict[tuple[str, int], int]) -> Iterator[ReadRecord]:
        yield from iter_topic(self._watched.brokers, topic, starts=self._read_to, ends=ends, deadline_s=_DEADLINE_S)
        self._read_to |= ends


def _of(topic: str, ends: dict[tuple[str, int], int]) -> dict[tuple[str, int], int]:
    return {place: end for place, end in ends.items() if place[0] == topic}
