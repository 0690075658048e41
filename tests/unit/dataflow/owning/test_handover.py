from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamserve.dataflow.owning import resuming as module
from streamserve.dataflow.owning.groups import Group, GroupState, StateRecord
from streamserve.dataflow.owning.handover import Handover
from streamserve.errors import BrokerUnavailable
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

    offsets: dict[TopicPartitionKey, Committed] = field(default_factory=dict[TopicPartitionKey, Committed])
    states: dict[int, bytes] = field(default_factory=dict[int, bytes])
    reading: bool = True
    ready: bool = True
    stable: bool = True
    fenced: bool = True
    started: list[dict[TopicPartitionKey, int]] = field(default_factory=list[dict[TopicPartitionKey, int]])

    def committed(self, partitions: Iterable[TopicPartitionKey]) -> dict[TopicPartitionKey, Committed]:
        if not self.stable:
            raise BrokerUnavailable("a transaction is open")
        return self.found(partitions)

    def found(self, partitions: Iterable[TopicPartitionKey]) -> dict[TopicPartitionKey, Committed]:
        return {at: self.offsets.get(at, Committed(None, None)) for at in partitions}

    def start(self, positions: Mapping[TopicPartitionKey, int]) -> bool:
        if self.ready:
            self.started.append(dict(positions))
        return self.ready

    def beginning(self, _: TopicPartitionKey) -> int:
        return 3

    def commit(self, offset: int, state_offset: int, instance: str = "w0") -> None:
        mark = OffsetMark(instance, 1_000 * offset, state_offset)
        self.offsets[AT] = Committed(offset, mark)
        record = StateRecord({"model": b"state at %d" % state_offset})
        self.states[state_offset] = msgspec.msgpack.encode(record)


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    world = World()

    class FakeTakeover:
        def __init__(self, _: str, partitions: Sequence[TopicPartitionKey], *__: object) -> None:
            self.committed = world.found(partitions)

        def step(self) -> bool:
            return world.fenced

    class FakeReader:
        def __init__(self, *_: object) -> None:
            self.wanted: dict[int, dict[bytes, int]] = {}

        def request(self, wanted: dict[int, dict[bytes, int]], _: object) -> None:
            self.wanted = wanted

        def step(self, _: float) -> dict[tuple[int, bytes], StoredState] | None:
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
        started += handover.step(alone=True)
    assert not handover.busy
    return started


def parked_group() -> Group:
    """Return a group as it was left with the commit of offset 5 and the state at 42."""
    return Group(PART, 0, {AT: Progress(5)}, state_from=42, states={"model": State(b"kept in memory")})


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
        assert handover.step(alone=True) == []
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
    parked = parked_group()
    handover.park({parked.key: parked})
    handover.begin([Group(PART, 0)])
    (group,) = run(handover)
    assert name_of(group) == state


def test_a_consumer_that_is_not_ready_to_seek_is_asked_again(world: World) -> None:
    world.ready = False
    handover = handover_in(world)
    handover.begin([Group(PART, 0)])
    assert [handover.step(alone=True) for _ in range(3)] == [[], [], []]
    assert handover.busy
    world.ready = True
    assert len(run(handover)) == 1


def test_what_comes_back_unchanged_is_read_while_others_wait_for_dead_owners(world: World) -> None:
    world.commit(5, 42)
    world.fenced = False
    handover = handover_in(world)
    parked = parked_group()
    handover.park({parked.key: parked})
    handover.begin([Group(PART, 0), Group(PART, 1)])
    assert handover.describe() == f"restoring {PART.name}[0], {PART.name}[1]"
    assert handover.step(alone=True) == [parked]
    assert [handover.step(alone=False) for _ in range(3)] == [[], [], []]
    assert (handover.describe(), world.started) == (f"restoring {PART.name}[1]", [{AT: 5}])
    world.fenced = True
    (other,) = run(handover)
    assert (other.partition, name_of(other)) == (1, b"empty")


def test_what_was_parked_is_judged_later_while_its_offsets_are_not_stable(world: World) -> None:
    world.commit(5, 42)
    world.stable = False
    handover = handover_in(world)
    parked = parked_group()
    handover.park({parked.key: parked})
    handover.begin([Group(PART, 0)])
    assert handover.step(alone=True) == []
    assert run(handover) == [parked]


def test_a_group_that_is_restored_but_not_read_yet_need_not_be_restored_again(world: World) -> None:
    world.commit(5, 42)
    world.reading, world.ready = False, False
    handover = handover_in(world)
    handover.begin([Group(PART, 0)])
    assert [handover.step(alone=True) for _ in range(4)] == [[]] * 4
    handover.forget()
    world.ready, world.reading = True, True
    handover.begin([Group(PART, 0)])
    (group,) = handover.step(alone=True)
    assert name_of(group) == b"state at 42"


def test_a_worker_that_is_given_nothing_keeps_nothing_and_is_not_busy(world: World) -> None:
    world.commit(5, 42)
    world.reading = False
    handover = handover_in(world)
    parked = parked_group()
    handover.park({parked.key: parked})
    handover.begin([])
    assert not handover.busy
    handover.begin([Group(PART, 0)])
    (group,) = run(handover)
    assert name_of(group) == b"state at 42"


def test_of_many_groups_the_first_are_named(world: World) -> None:
    handover = handover_in(world)
    handover.begin([Group(PART, partition) for partition in range(30)])
    assert handover.describe().endswith(f"{PART.name}[9], 20 more")
