"""Failures and deaths at calls of Kafka, and in the recoveries from them, leave everything as it was on the harness.

``python -m tests.integration.evidence.memory_pairs`` goes through all pairs of points.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from streamserve import App
from streamserve.kafka.calls import When
from streamserve.testing import Harness
from tests.integration.apps.state import spending
from tests.integration.evidence.explored import Explored
from tests.integration.evidence.memory_pairs import MemoryWalk, Store, run_walk
from tests.integration.evidence.points import KILLS, POINTS
from tests.integration.evidence.trials import Evidence, chance_of
from tests.integration.state_driving import spent_events

SEED = 1
STRIKES = 60


@pytest.mark.parametrize("store", ["memory", "disk"])
def test_pairs_of_crash_points_leave_no_trace(store: Store, tmp_path: Path) -> None:
    evidence = Evidence(f"tables in {store}", seed=SEED)
    walk = MemoryWalk(store, tmp_path, Explored.in_memory(), SEED, STRIKES)
    run_walk(walk, evidence)
    assert evidence.anomalies == [], [f"{POINTS[first - 1]} > {POINTS[second - 1]}" for first, second in walk.pairs]
    assert len(walk.pairs) == STRIKES
    assert {POINTS[second - 1].action in KILLS for _, second in walk.pairs} == {True, False}


def test_a_worker_that_dies_while_it_stops_is_the_last(tmp_path: Path) -> None:
    calls: list[str] = []

    def dies(name: str, when: When) -> None:
        calls.append(name)
        if (name, when) == ("consumer.close", "before"):
            harness.kafka[1].die()

    app, spent = spending(App("struck", state_dir=tmp_path), "memory")
    with Harness(app, hook=dies) as harness:
        harness.send(spent, *spent_events(3, chance_of(1)))
    assert calls[-1] == "consumer.close"
    with Harness(app, after=harness) as again:
        again.send(spent, *spent_events(3, chance_of(1), first=3))
        assert len(again.read_bytes("in.struck")) == 6
