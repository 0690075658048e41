"""Which processing-time timers are due, over the groups that a worker owns."""

from __future__ import annotations

import pytest

from streamserve import App, Stream
from streamserve.clock import ManualClock
from streamserve.dataflow.owning.alarms import Alarms
from streamserve.dataflow.owning.groups import Group
from streamserve.dataflow.owning.states import definition_of
from streamserve.dataflow.planning.plan import GroupKey, Plan
from streamserve.state.pending import Pending
from streamserve.state.store import MemoryStore
from streamserve.state.table import TableState


def plan_with_timers(*, used: bool = True) -> Plan:
    app = App("alarms")
    topic = app.topic("in", int, key=str)
    table = app.table("seen", int, default=int)

    @app.agent(topic)
    async def count(stream: Stream[int]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for number in stream:
            table[str(number)] = number

    async def fire(key: str) -> None:
        del key

    if used:
        table.on_timer(clock="processing")(fire)
    return app.plan()


def groups_of(plan: Plan) -> dict[GroupKey, Group]:
    groups = [Group(plan.parts[0], partition) for partition in range(3)]
    for group in groups:
        group.tables = {"seen": TableState(definition_of(plan.tables["seen"]), MemoryStore())}
    return {group.key: group for group in groups}


def set_timer(group: Group, key: bytes, at_ms: int | None) -> None:
    table, event = group.tables["seen"], Pending(0)
    assert isinstance(table, TableState)
    if at_ms is None:
        table.delete_timer(event, key, "processing")
    else:
        table.set_timer(event, key, at_ms, "processing")
    event.commit()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock(start_ms=1_000)


def test_timers_of_noted_groups_are_due_at_their_time_and_their_groups_say_as_of_when(clock: ManualClock) -> None:
    plan = plan_with_timers()
    groups, alarms = groups_of(plan), Alarms(plan, clock)
    first, second, _ = groups.values()
    first.see({"in": 77})
    set_timer(first, b"a", 3_000)
    set_timer(second, b"b", 2_000)
    for group in groups:
        alarms.note(group)
    assert alarms.seconds_to_next(groups) == 1.0
    assert alarms.take(groups) == []
    clock.advance(2)
    found = {due.partition: (due.keys, due.time_ms, due.clock) for due in alarms.take(groups)}
    assert found == {0: ([(b"a", 3_000)], 77, "processing"), 1: ([(b"b", 2_000)], None, "processing")}
    assert alarms.seconds_to_next(groups) == float("inf")


def test_timers_that_never_end_leave_every_other_turn_to_records(clock: ManualClock) -> None:
    plan = plan_with_timers()
    groups, alarms = groups_of(plan), Alarms(plan, clock)
    group = groups[plan.parts[0].name, 0]
    gave: list[bool] = []
    for _ in range(6):
        set_timer(group, b"a", 0)
        alarms.note(group.key)
        gave.append(bool(alarms.take(groups)))
        assert not gave[-1] or alarms.seconds_to_next(groups) == float("inf")
    assert gave == [True, False] * 3


def test_a_timer_that_was_taken_back_or_went_with_its_partition_is_forgotten(clock: ManualClock) -> None:
    plan = plan_with_timers()
    groups, alarms = groups_of(plan), Alarms(plan, clock)
    gone, stays, _ = groups
    set_timer(groups[gone], b"a", 2_000)
    set_timer(groups[stays], b"b", 2_000)
    alarms.note(gone)
    alarms.note(stays)
    assert alarms.seconds_to_next(groups) == 1.0
    set_timer(groups[stays], b"b", None)
    del groups[gone]
    clock.advance(1)
    assert alarms.seconds_to_next(groups) == 0.0, "a bound: the next look at all groups corrects it"
    assert alarms.take(groups) == []
    assert alarms.seconds_to_next(groups) == float("inf")


def test_an_app_without_such_timers_does_not_look_at_the_clock() -> None:
    class Unasked(ManualClock):
        def now_ms(self) -> int:
            raise AssertionError("the clock was asked")

    plan = plan_with_timers(used=False)
    groups, alarms = groups_of(plan), Alarms(plan, Unasked())
    alarms.note((plan.parts[0].name, 0))
    assert alarms.take(groups) == []
    assert alarms.seconds_to_next(groups) == float("inf")
