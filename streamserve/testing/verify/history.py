"""The built-in app's topics on a real Kafka, as the judgement reads them."""

from __future__ import annotations

from collections.abc import Iterable

from streamserve.testing.reading import ReadRecord, end_offsets, iter_topic
from streamserve.testing.verify.judging import History
from streamserve.testing.verify.names import Names
from streamserve.testing.verify.watching import Watched

__all__ = ["read_history"]

_DEADLINE_S = 90.0
"""Longer than a transaction that a killed worker left open."""


def read_history(watched: Watched, *, over: bool) -> History:
    """Return what is committed and written now, for ``judge`` to read.

    It and its reading raise ``OutageError``, ``BrokerUnavailable`` and ``TopicError`` as the readers do.
    """
    names = Names(watched.group)
    before = watched.offsets()
    ends = end_offsets(watched.brokers, names.written)

    def read(topic: str) -> Iterable[ReadRecord]:
        bound = None if topic == names.inputs else ends
        return iter_topic(watched.brokers, topic, ends=bound, deadline_s=_DEADLINE_S)

    return History(names, before, read, watched.offsets, over)
