from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamserve.dataflow import handover as module
from streamserve.dataflow.groups import Group, GroupState, StateRecord
from streamserve.dataflow.handover import Handover
from streamserve.kafka.calls import Calls
from streamserve.kafka.marks import Committed, OffsetMark, Progress, TopicPartitionKey
from streamserve.kafka.restore import StoredState
from streamserve.observer import Observer
from streamserve.settings import Settings
from tests.integration.apps.topologies import monitored

PLAN = monitored("app", Path()).plan()
PART = PLAN.parts[0]
AT = ("in.app", 0)


class State:
    """A state whose snapshot is its name."""

    dirty = False

    def __init__(self, name: bytes) -> None:
        self.name = name

    def snapshot(self) -> bytes:
        return self.name


@dataclass(slots=True)
class World:
    """What is on the broker, and what the consumer was told."""

    committed: dict[TopicPartitionKey, Committed] = field(default_factory=dict[TopicPartitionKey, Committed])
    states: dict[int, bytes] = field(default_factory=dict[int, bytes])
    reading: bool = True
    ready: bool = True
    started: list[dict[TopicPartitionKey, int]] = field(default_factory=list[dict[TopicPartitionKey, int]])

    def start(self, positions: Mapping[TopicPartitionKey, int]) -> bool:
        if self.ready:
            self.started.append(dict(positions))
        return self.ready

    def beginning(self, _: TopicPartitionKey) -> int:
        return 3

    def commit(self, offset: int, state_offset: int, instance: str = "w0") -> None:
        mark = OffsetMark(instance, 1_000 * offset, state_offset)
        self.committed[AT] = Committed(offset, mark)
        record = StateRecord({"model": b"state at %d" % state_offset})
        self.states[state_offset] = msgspec.msgpack.encode(record)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    class FakeTakeover:
        def __init__(self, _: str, partitions: Sequence[TopicPartitionKey], *__: object) -> None:
            self.committed = {at: world.committed.get(at, Committed(None, None)) for at in partitions}

        def step(self) -> bool:
            return True

    class FakeReader:
        def __init__(self, *_: object) -> None:
            self.wanted: dict[int, dict[bytes, int]] = {}

        def request(self, wanted: dict[int, dict[bytes, int]], _: object) -> None:
            self.wanted = wanted

        def step(self) -> dict[tuple[int, bytes], StoredState] | None:
            if world.reading:
                return None
            return {
                (partition, key): StoredState(offset, world.states[offset])
                for partition, keys in self.wanted.items()
                for key, offset in keys.items()
            }

        def close(self) -> None:
            self.wanted = {}

    monkeypatch.setattr(module, "Takeover", FakeTakeover)
    monkeypatch.setattr(module, "StateReader", FakeReader)
    return world


def handover_in(world: World) -> Handover:
    def new_states(_: Group, snapshots: Mapping[str, bytes]) -> dict[str, GroupState]:
        return {"model": State(snapshots.get("model", b"empty"))}

    consumer: Any = world
    return Handover(PLAN, Settings(instance="w0"), Calls(), consumer, new_states, lambda _: {}, Observer())


def run(handover: Handover) -> list[Group]:
    """Step until there is nothing left to do; return what was started."""
    started: list[Group] = []
    for _ in range(10):
        started += handover.step()
    assert not handover.busy
    return started


def name_of(group: Group) -> bytes:
    return group.states["model"].snapshot()


def test_a_group_without_a_past_starts_at_the_beginning_with_empty_state(world: World) -> None:
    handover = handover_in(world)
    handover.begin([Group(PART, 0)])
    assert handover.busy
    (group,) = run(handover)
    assert (group.positions, name_of(group), world.started) == ({AT: 3}, b"empty", [{AT: 3}])


def test_a_group_goes_on_where_it_was_left_with_the_state_that_was_committed_there(world: World) -> None:
    world.commit(5, 42)
    world.reading = False
    handover = handover_in(world)
    handover.begin([Group(PART, 0)])
    (group,) = run(handover)
    assert (group.positions, group.watermark_ms, group.state_offset) == ({AT: 5}, 5_000, 42)
    assert name_of(group) == b"state at 42"
    assert world.started == [{AT: 5}]


def test_a_rebalance_while_state_is_read_starts_anew_from_what_is_committed_then(world: World) -> None:
    """What was read for the last assignment must not start this one: its positions were never read."""
    world.commit(5, 42)
    handover = handover_in(world)
    handover.begin([Group(PART, 0)])
    for _ in range(3):
        assert handover.step() == []
    handover.forget()
    assert not handover.busy
    world.commit(9, 77)
    world.reading = False
    handover.begin([Group(PART, 0)])
    (group,) = run(handover)
    assert (group.positions, name_of(group), world.started) == ({AT: 9}, b"state at 77", [{AT: 9}])


@pytest.mark.parametrize(
    ("committed", "state"),
    [
        ((5, 42, "w0"), b"kept in memory"),
        ((6, 42, "w0"), b"state at 42"),
        ((5, 43, "w0"), b"state at 43"),
        ((5, 42, "w1"), b"state at 42"),
    ],
)
def test_a_group_keeps_its_state_only_if_nobody_moved_it_meanwhile(
    committed: tuple[int, int, str], state: bytes, world: World
) -> None:
    world.commit(*committed)
    world.reading = False
    handover = handover_in(world)
    parked = Group(PART, 0, {AT: Progress(5)}, state_from=42, states={"model": State(b"kept in memory")})
    handover.park({parked.key: parked})
    handover.begin([Group(PART, 0)])
    (group,) = run(handover)
    assert name_of(group) == state


def test_a_consumer_that_is_not_ready_to_seek_is_asked_again(world: World) -> None:
    world.ready = False
    handover = handover_in(world)
    handover.begin([Group(PART, 0)])
    assert [handover.step() for _ in range(3)] == [[], [], []]
    assert handover.busy
    world.ready = True
    assert len(run(handover)) == 1
