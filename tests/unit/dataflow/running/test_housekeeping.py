"""What is done now and then, and when."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from streamserve.app import App
from streamserve.clock import ManualClock
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.running.housekeeping import Housekeeping
from streamserve.kafka.consumer import GroupConsumer
from streamserve.kafka.marks import Progress, TopicPartitionKey
from streamserve.observer import Observer

DAY = 24 * 3600.0


class Ends:
    """A consumer that knows how far logs go, and keeps what is to be deleted."""

    def __init__(self, ends: Mapping[TopicPartitionKey, int]) -> None:
        self._ends = ends
        self.deleted: list[Mapping[TopicPartitionKey, int]] = []

    def end(self, key: TopicPartitionKey) -> int | None:
        return self._ends.get(key)

    def delete_before(self, positions: Mapping[TopicPartitionKey, int]) -> None:
        self.deleted.append(positions)


class Lags(Observer):
    def __init__(self) -> None:
        self.lags: dict[TopicPartitionKey, int] = {}

    def lag(self, topic: str, partition: int, records: int) -> None:
        self.lags[topic, partition] = records


def make(ends: Mapping[TopicPartitionKey, int] | None = None) -> tuple[Housekeeping, Group, ManualClock, Lags, Ends]:
    app = App("counting")
    numbers = app.topic("numbers", int, key=str)
    regrouped = numbers.key_by(lambda number: str(number % 2), name="parity")

    @app.agent(regrouped)
    async def look(stream: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        async for _ in stream:
            pass

    plan = app.plan()
    part = next(part for part in plan.parts if part.agents)
    group = Group(part, 0, {(topic, 0): Progress(5) for topic in part.topics}, committed_at=1.0)
    clock, lags, consumer = ManualClock(), Lags(), Ends(ends or dict.fromkeys(group.inputs, 12))
    clock.advance(100)
    return Housekeeping(plan, cast("GroupConsumer", consumer), clock, lags), group, clock, lags, consumer


def test_it_is_due_once_a_second_and_can_be_put_off() -> None:
    house, _, clock, _, _ = make()
    assert not house.is_due()
    clock.advance(1)
    assert house.is_due()
    assert not house.is_due()
    clock.advance(0.9)
    house.put_off()
    clock.advance(0.9)
    assert not house.is_due()


def test_lag_counts_what_lies_between_position_and_end() -> None:
    house, group, _, lags, _ = make()
    house.report_lag([group])
    assert lags.lags == dict.fromkeys(group.inputs, 7)


def test_the_lag_of_a_log_that_was_not_fetched_is_not_told() -> None:
    house, group, _, lags, _ = make({("other", 0): 1})
    house.report_lag([group])
    assert lags.lags == {}


def test_what_was_read_of_a_regrouped_topic_is_deleted_at_first_and_every_half_minute() -> None:
    house, group, clock, _, consumer = make()
    house.delete_regrouped([group])
    clock.advance(29)
    house.delete_regrouped([group])
    assert consumer.deleted == [dict.fromkeys(group.inputs, 5)]
    clock.advance(1)
    house.delete_regrouped([group])
    assert consumer.deleted == [dict.fromkeys(group.inputs, 5)] * 2


def test_offsets_are_renewed_after_a_day_of_silence() -> None:
    house, group, clock, _, _ = make()
    assert house.expiring([group]) == []
    clock.advance(DAY)
    assert house.expiring([group]) == [group]
    group.committed_at = clock.monotonic()
    assert house.expiring([group]) == []
