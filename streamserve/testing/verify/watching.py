"""Asks Kafka again and again how far a consumer group has come, with one client."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from threading import Lock
from typing import Final

from confluent_kafka import Consumer, KafkaException, TopicPartition

from streamserve.errors import OutageError
from streamserve.testing.reading import end_offsets

__all__ = ["Watched"]

_ANSWER_S: Final = 90.0
"""Longer than a transaction that a killed worker left open, which keeps its offsets from being stable."""


_PAUSE_S: Final = 0.2


class Watched:
    """The consumer group of the app under test, and the topics that it is fed; any thread may ask.

    Stable offsets only: those that no open transaction is about to change. Its methods raise ``OutageError`` where
    Kafka has no such answer for 90 s.
    """

    def __init__(self, brokers: str, group: str, topics: Sequence[str]) -> None:
        self.brokers = brokers
        self.group = group
        self.topics = topics
        self._places = [TopicPartition(*place) for place in end_offsets(brokers, topics)]
        self._client = Consumer(
            {"bootstrap.servers": brokers, "group.id": group, "enable.auto.commit": False, "log_level": 0}
        )
        self._one_at_a_time = Lock()

    def offsets(self) -> Mapping[tuple[str, int], int]:
        """Return the committed offset of each partition that has one."""
        give_up = time.monotonic() + _ANSWER_S
        while (found := self._ask(give_up)) is None:
            time.sleep(_PAUSE_S)
        return {(place.topic, place.partition): place.offset for place in found if place.offset >= 0}

    def _ask(self, give_up: float) -> list[TopicPartition] | None:
        """Ask once; ``None`` where there is no answer: on a busy machine a broker loses its coordinator for a while."""
        try:
            with self._one_at_a_time:
                return self._client.committed(self._places, _ANSWER_S)
        except KafkaException as error:
            if time.monotonic() < give_up:
                return None
            raise OutageError(
                f"the offsets of group {self.group} were not stable for {_ANSWER_S:g} s ({error.args[0]}): a"
                " transaction that commits them is open, or the broker is away"
            ) from error

    def committed(self) -> int:
        """Return how many records are committed."""
        return sum(self.offsets().values())

    def ends(self) -> Mapping[tuple[str, int], int]:
        """Return the end of each partition now."""
        return end_offsets(self.brokers, self.topics)

    def behind(self, ends: Mapping[tuple[str, int], int]) -> int:
        """Return how many records below ``ends`` are not committed."""
        done = self.offsets()
        return sum(max(0, end - done.get(place, 0)) for place, end in ends.items())

    def close(self) -> None:
        """Let go of the client."""
        self._client.close()
