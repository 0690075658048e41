"""For how long topics have had nothing more: what merging and sorting rows wait for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from streamserve.clock import Clock
from streamserve.dataflow.arriving.merge import Waits
from streamserve.dataflow.planning.plan import Part, Plan
from streamserve.durations import to_milliseconds
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import TopicPartitionKey
from streamserve.records import RawRecord
from streamserve.settings import Settings


class Waiting:
    """Knows when each topic partition was heard last.

    A topic that is at its end on the broker counts as caught up after ``merge_wait``, and as idle once it has been
    silent for ``idle_timeout``, or for its own ``max_out_of_orderness`` where that is longer.
    """

    def __init__(self, plan: Plan, settings: Settings, consumer: GroupConsumer, clock: Clock) -> None:
        self._clock = clock
        self._consumer = consumer
        self._merge_seconds = to_milliseconds(settings.merge_wait) / 1000
        idle_ms = to_milliseconds(settings.idle_timeout)
        self._idle_seconds = {
            name: max(idle_ms, node.max_out_of_orderness_ms) / 1000 for name, node in plan.topics.items()
        }
        self._heard: dict[TopicPartitionKey, float] = {}

    def begin(self, inputs: Iterable[TopicPartitionKey]) -> None:
        """Start to listen to ``inputs``: their silence counts from now."""
        self._heard.update(dict.fromkeys(inputs, self._clock.monotonic()))

    def heard(self, topic: str, records: Sequence[RawRecord]) -> None:
        """Take note that ``records`` of ``topic`` arrived."""
        now = self._clock.monotonic()
        for partition in {record.partition() or 0 for record in records}:
            self._heard[topic, partition] = now

    def of(self, part: Part) -> dict[int, Waits]:
        """Return, by partition, which of the part's topics are caught up, and which of those are idle."""
        now = self._clock.monotonic()
        waits: dict[int, Waits] = {}
        for partition, topics in self._consumer.caught_up(part.topics).items():
            silent = {topic: now - self._heard.get((topic, partition), now) for topic in topics}
            waits[partition] = Waits(
                {topic for topic in topics if silent[topic] >= self._merge_seconds},
                {topic for topic in topics if silent[topic] >= self._idle_seconds[topic]},
            )
        return waits
