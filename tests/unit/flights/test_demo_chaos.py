"""When workers are killed."""

from __future__ import annotations

import time
from typing import cast

import pytest

from topologies.flights.demo.chaos import Chaos
from topologies.flights.demo.workers import Workers

EVENTS = 1000


class CountedKills:
    """Stands in for the processes."""

    urls = ("http://127.0.0.1:1", "http://127.0.0.1:2")

    def __init__(self) -> None:
        self.killed: list[int] = []
        self.revived: list[int] = []

    def kill(self, number: int) -> None:
        self.killed.append(number)

    def revive(self, number: int) -> None:
        self.revived.append(number)


def chaos(workers: CountedKills, kills: int) -> Chaos:
    return Chaos(cast("Workers", workers), events=EVENTS, kills=kills)


def test_without_kills_nothing_is_killed() -> None:
    workers = CountedKills()
    calm = chaos(workers, 0)
    assert calm.done
    assert not calm.step(EVENTS)
    assert workers.killed == []


def test_no_worker_is_killed_before_work_is_done() -> None:
    workers = CountedKills()
    storm = chaos(workers, 3)
    assert not storm.step(0)
    assert workers.killed == []


@pytest.mark.parametrize("kills", [1, 3])
def test_as_many_workers_are_killed_as_asked(kills: int) -> None:
    workers = CountedKills()
    storm = chaos(workers, kills)
    give_up = time.monotonic() + 10
    while not storm.done and time.monotonic() < give_up:
        storm.step(EVENTS)
        time.sleep(0.005)
    assert len(workers.killed) == kills
    assert workers.revived == workers.killed
    assert set(workers.killed) <= {0, 1}
