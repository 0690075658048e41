"""Groups are loaded side by side, each done as soon as its own changelogs are read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from streamserve import App, Stream
from streamserve.dataflow.owning import loading as module
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.owning.loading import Loading
from streamserve.dataflow.planning.plan import Plan
from streamserve.kafka.calls import Calls
from streamserve.observer import Observer
from streamserve.settings import Settings
from streamserve.testing.harness_clock import HarnessClock
from streamserve.testing.memory_kafka import Cluster, memory_clients
from streamserve.testing.memory_kafka.log import LogTransaction


def plan_with_table() -> Plan:
    app = App("loading")
    numbers = app.topic("numbers", int, key=str)
    seen = app.table("seen", int, default=int)

    @app.agent(numbers)
    async def count(stream: Stream[int]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for number in stream:
            seen.update(str(number), lambda times: times + 1)

    return app.plan()


PLAN = plan_with_table()
CHANGELOG = PLAN.changelog_of("seen")


@dataclass(slots=True)
class Keys:
    """A state that keeps the keys that it is given."""

    keys: list[bytes] = field(default_factory=list[bytes])
    is_loaded: bool = False

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        del values
        assert not self.is_loaded
        self.keys += keys

    def loaded(self) -> None:
        assert not self.is_loaded
        self.is_loaded = True

    def take_changes(self) -> tuple[list[bytes], list[bytes | None]]:
        return [], []


@pytest.fixture
def cluster() -> Cluster:
    made = Cluster(HarnessClock())
    made.create_topic(CHANGELOG, 3)
    return made


@pytest.fixture
def loading(cluster: Cluster, monkeypatch: pytest.MonkeyPatch) -> Loading:
    """A loading whose slices are of one record."""
    monkeypatch.setattr(module, "SLICE_SECONDS", 0.0)
    monkeypatch.setattr(module, "_SLICE_RECORDS", 1)
    calls = Calls(clients=memory_clients(cluster))
    return Loading(PLAN, Settings(instance="w0"), calls, lambda _: {"seen": Keys()}, Observer())


def write(cluster: Cluster, partition: int, *keys: bytes) -> None:
    for key in keys:
        cluster.append(CHANGELOG, b"1", key, partition=partition)


def group(partition: int) -> Group:
    return Group(PLAN.parts[0], partition)


def keys_of(group: Group) -> list[bytes]:
    state: Any = group.tables["seen"]
    return state.keys


def opened(loading: Loading, *partitions: int) -> list[Group]:
    """Take groups on the way and open them; return those that were loaded by that."""
    assert loading.begin([group(partition) for partition in partitions]) == []
    return [done for _ in partitions for done in loading.step(alone=False)]


def partitions_of(groups: Sequence[Group]) -> list[int]:
    return [group.partition for group in groups]


def run(loading: Loading, *, alone: bool = True) -> list[Group]:
    done: list[Group] = []
    for _ in range(100):
        done += loading.step(alone=alone)
    assert not loading.busy
    return done


def test_an_empty_changelog_is_loaded_at_once_and_a_long_one_keeps_no_short_one_waiting(
    loading: Loading, cluster: Cluster
) -> None:
    write(cluster, 0, b"a", b"b")
    write(cluster, 1, *(b"%d" % number for number in range(50)))
    (empty,) = opened(loading, 0, 1, 2)
    assert (empty.partition, empty.clean_at) == (2, {"seen": 0})
    done: list[Group] = []
    while not done:
        done = loading.step(alone=False)
    (rest,) = loading.groups
    assert (partitions_of(done), keys_of(done[0]), keys_of(rest)) == ([0], [b"a", b"b"], [])
    assert run(loading, alone=False) == [rest]
    assert len(keys_of(rest)) == 50


def test_a_slice_is_short_while_others_run_and_long_while_nobody_does(loading: Loading, cluster: Cluster) -> None:
    write(cluster, 0, *(b"%d" % number for number in range(50)))
    assert opened(loading, 0) == []
    assert loading.step(alone=False) == []
    (waiting,) = loading.groups
    assert keys_of(waiting) == [b"0"]
    assert loading.step(alone=True) == [waiting]
    assert len(keys_of(waiting)) == 50


def test_what_a_group_writes_once_it_is_loaded_is_not_loaded_again(loading: Loading, cluster: Cluster) -> None:
    write(cluster, 0, b"a")
    write(cluster, 1, *(b"%d" % number for number in range(5)))
    assert opened(loading, 0, 1) == []
    first: list[Group] = []
    while not first:
        first = loading.step(alone=False)
    write(cluster, 0, b"own")
    assert partitions_of([*first, *run(loading, alone=False)]) == [0, 1]
    assert keys_of(first[0]) == [b"a"]


def test_with_nothing_at_hand_it_says_that_it_waits(loading: Loading, cluster: Cluster) -> None:
    write(cluster, 0, b"a")
    cluster.append(CHANGELOG, b"1", b"b", partition=0, transaction=LogTransaction())
    opened(loading, 0)
    assert loading.step(alone=False) == []
    assert not loading.waits
    assert loading.step(alone=False) == []
    assert loading.waits


def test_a_rebalance_goes_on_with_what_was_loaded_by_then(loading: Loading, cluster: Cluster) -> None:
    write(cluster, 0, b"a", b"b", b"c")
    write(cluster, 1, b"d", b"e")
    opened(loading, 0, 1)
    while not any(map(keys_of, loading.groups)):
        loading.step(alone=False)
    loading.forget()
    assert not loading.busy
    write(cluster, 0, b"b")
    write(cluster, 1, b"f")
    loading.expect({group(0).key, group(1).key})
    opened(loading, 0, 1)
    done = {group.partition: keys_of(group) for group in run(loading)}
    assert done == {0: [b"a", b"b", b"c", b"b"], 1: [b"d", b"e", b"f"]}


def test_what_was_loaded_of_a_group_that_does_not_come_back_is_dropped(loading: Loading, cluster: Cluster) -> None:
    write(cluster, 0, b"a", b"b", b"c")
    opened(loading, 0)
    loading.step(alone=False)
    (before,) = loading.groups
    loading.forget()
    loading.expect({group(1).key})
    opened(loading, 0)
    (after,) = run(loading)
    assert before.tables == {}
    assert keys_of(after) == [b"a", b"b", b"c"]


def test_a_group_that_has_its_tables_has_nothing_to_load(loading: Loading) -> None:
    kept = group(0)
    kept.tables = {"seen": Keys()}
    assert loading.begin([kept]) == [kept]
    assert not loading.busy
