"""What an engine does while it owns nothing; all else is seen in the harness."""

from __future__ import annotations

from collections.abc import Generator
from types import SimpleNamespace
from typing import Any

import pytest

from streamserve.app import App
from streamserve.dataflow.owning.held import HeldTables
from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.running.engine import Engine, Stations
from streamserve.dataflow.running.schedule import Schedule
from streamserve.kafka.calls import Calls
from streamserve.kafka.quarantine import Quarantine
from streamserve.observer import Observer
from streamserve.settings import load_settings
from streamserve.testing.harness_clock import HarnessClock
from streamserve.testing.memory_kafka.clients import memory_clients
from streamserve.testing.memory_kafka.cluster import Cluster


def plan_with_timer() -> Plan:
    app = App("ticking")
    numbers = app.topic("numbers", int, key=str)

    @app.agent(numbers)
    async def read(stream: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        async for _ in stream:
            pass

    @app.timer("1m", per="app")
    async def tick() -> None: ...  # pyright: ignore[reportUnusedFunction]

    return app.plan()


@pytest.fixture
def clock() -> HarnessClock:
    return HarnessClock(0)


@pytest.fixture
def schedule(clock: HarnessClock) -> Schedule:
    return Schedule(plan_with_timer().timers, clock)


@pytest.fixture
def engine(clock: HarnessClock, schedule: Schedule) -> Generator[Engine]:
    plan, cluster = plan_with_timer(), Cluster(clock)
    cluster.create_topic("numbers", 1, {})
    calls = Calls(clients=memory_clients(cluster))
    made = Engine(plan, load_settings({"instance": "w0"}), calls, Quarantine(), Observer(), clock, {"numbers": 1})
    loaded: Any = SimpleNamespace(loaded=True, step=lambda: None, close=lambda: None)
    made.attach(Stations({}, lambda _, __: {}, lambda _: {}, lambda: None, schedule, loaded, HeldTables(plan)))
    yield made
    made.close()


def test_a_stand_by_lets_timers_pass_that_others_run(engine: Engine, schedule: Schedule, clock: HarnessClock) -> None:
    engine.on_assigned([])
    clock.advance(90)
    assert engine.turn() == []
    assert schedule.seconds_to_next() == 30


def test_what_comes_due_while_partitions_change_hands_is_kept_for_who_gets_them(
    engine: Engine, schedule: Schedule, clock: HarnessClock
) -> None:
    engine.on_assigned([])
    engine.on_revoked([], lost=False)
    clock.advance(90)
    assert engine.turn() == []
    assert schedule.seconds_to_next() == 0
