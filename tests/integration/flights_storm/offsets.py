"""How far an app has come, asked of its consumer group from outside of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import msgspec
from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamserve.testing.checks import end_offsets

__all__ = ["Offsets", "Place", "Stand", "instance_of", "watermarks_of"]

Place: TypeAlias = tuple[str, int]
"""A topic and a partition."""

Stand: TypeAlias = Mapping[Place, tuple[int, str]]
"""The next offset of each partition of which anything was committed, and the text that was committed beside it."""

_ANSWER_S = 10.0


class Offsets:
    """The committed offsets of ``group``: of its ``inputs``, which are complete, and of ``internal`` topics.

    What a transaction that is open has sent does not count yet. A broker that does not answer is asked again next time.
    """

    def __init__(self, brokers: str, group: str, inputs: Sequence[str], internal: Sequence[str] = ()) -> None:
        self._ends: Mapping[Place, int] = end_offsets(brokers, inputs)
        self._places = [TopicPartition(*place) for place in end_offsets(brokers, [*inputs, *internal])]
        self._client = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": group,
                "enable.auto.commit": False,
                "log_level": 3,
                "isolation.level": "read_uncommitted",  # does not wait for what is unstable
            }
        )

    def stand(self) -> Stand | None:
        """Return where the group stands, ``None`` where nobody answers."""
        try:
            found = self._client.committed(self._places, _ANSWER_S)
        except KafkaException:
            return None
        return {(item.topic, item.partition): (item.offset, item.metadata or "") for item in found if item.offset >= 0}

    def share(self, stand: Stand) -> float:
        """Return which share of the inputs is committed."""
        return sum(stand[place][0] for place in self._ends if place in stand) / max(1, sum(self._ends.values()))

    def close(self) -> None:
        """Let go of the broker."""
        self._client.close()


def instance_of(mark: str) -> str:
    """Return which worker committed: the first item of the JSON array beside the offset.

    >>> instance_of('["demo-0",1357601100000,null]')
    'demo-0'
    """
    return msgspec.json.decode(mark)[0] if mark else ""


def watermarks_of(stand: Stand, topic: str) -> dict[int, int]:
    """Return the event time, in milliseconds, that the group of each partition of ``topic`` had come to.

    It is the second item of the JSON array beside the offset.
    """
    marks = {partition: mark for (name, partition), (_, mark) in stand.items() if name == topic and mark}
    times = {partition: msgspec.json.decode(mark)[1] for partition, mark in marks.items()}
    return {partition: time_ms for partition, time_ms in times.items() if time_ms is not None}
