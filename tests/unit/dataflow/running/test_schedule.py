"""Timers are due at whole multiples of their period since the epoch."""

from __future__ import annotations

from typing import Literal

from streamserve.clock import ManualClock
from streamserve.dataflow.batch import Tick
from streamserve.dataflow.planning.nodes import TimerNode
from streamserve.dataflow.running.schedule import Schedule


def timer(name: str, every_ms: int, per: Literal["partition", "worker"] = "partition") -> TimerNode:
    return TimerNode(name, every_ms, "out", per, lambda: None)


def test_each_owned_partition_ticks_and_a_workers_timer_once() -> None:
    clock = ManualClock(start_ms=100)
    schedule = Schedule([timer("p", 1000), timer("w", 2000, "worker")], clock)
    assert schedule.due([0, 3]) == []
    clock.advance(0.9)
    assert schedule.due([0, 3]) == [Tick("p", 0), Tick("p", 3)]
    assert schedule.due([0, 3]) == []
    clock.advance(1)
    assert schedule.due([3]) == [Tick("p", 3), Tick("w", None)]


def test_periods_that_were_missed_are_not_made_up_for() -> None:
    clock = ManualClock()
    schedule = Schedule([timer("p", 1000)], clock)
    clock.advance(10.5)
    assert schedule.due([0]) == [Tick("p", 0)]
    assert schedule.seconds_to_next() == 0.5


def test_without_timers_nothing_is_ever_due() -> None:
    assert Schedule([], ManualClock()).seconds_to_next() == float("inf")


def test_what_comes_due_for_a_partition_that_is_being_restored_is_kept_once() -> None:
    clock = ManualClock()
    schedule = Schedule([timer("p", 1000), timer("w", 1000, "worker")], clock)
    clock.advance(1)
    assert schedule.due([0], awaited=[1, 2]) == [Tick("p", 0), Tick("w", None)]
    assert schedule.due([0], awaited=[1, 2]) == []
    clock.advance(1)
    assert schedule.due([0], awaited=[1]) == [Tick("p", 0), Tick("w", None)]
    assert schedule.due([0, 1, 2]) == [Tick("p", 1)], "once; partition 2 went to another worker in between"
    assert schedule.due([0, 1, 2]) == []


def test_a_clock_that_is_set_back_stops_no_timer() -> None:
    clock = ManualClock(start_ms=7_200_000)
    schedule = Schedule([timer("p", 1000)], clock)
    clock.advance(-3600)
    assert schedule.seconds_to_next() == 1.0
    clock.advance(1)
    assert schedule.due([0]) == [Tick("p", 0)]


def test_a_clock_that_is_corrected_by_a_moment_lets_no_time_come_twice() -> None:
    clock = ManualClock()
    schedule = Schedule([timer("p", 1000)], clock)
    clock.advance(1)
    assert schedule.due([0]) == [Tick("p", 0)]
    clock.advance(-0.2)
    assert schedule.due([0]) == []
    clock.advance(0.9)
    assert schedule.due([0]) == []
    clock.advance(0.3)
    assert schedule.due([0]) == [Tick("p", 0)]
