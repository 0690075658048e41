"""Health tells a stall by its cause, and what readiness waits for."""

from __future__ import annotations

import threading

import pytest

from streamserve.clock import ManualClock
from streamserve.errors import ConfigurationError
from streamserve.ops.health import Health, Liveness, Watchdog


def test_progress_within_the_deadline_is_healthy() -> None:
    clock = ManualClock()
    health = Health(deadline_s=60, clock=clock)
    clock.advance(50)
    health.progress()
    clock.advance(60)
    assert health.liveness() == Liveness(healthy=True, seconds=60, step="start")


def test_a_stall_names_the_step_the_seconds_and_the_stack_of_the_engines_thread() -> None:
    clock = ManualClock()
    health = Health(deadline_s=60, clock=clock)
    entered, leave = threading.Event(), threading.Event()

    def stuck_in_a_model() -> None:
        health.progress()
        health.processed("predict", 10, 0.1)
        entered.set()
        leave.wait()

    engine = threading.Thread(target=stuck_in_a_model)
    engine.start()
    entered.wait()
    clock.advance(61)
    liveness = health.liveness()
    leave.set()
    engine.join()
    assert not liveness.healthy
    assert (liveness.seconds, liveness.step) == (61, "step predict")
    assert any(place.endswith("in stuck_in_a_model") for place in liveness.stack)
    assert health.liveness().stack == ("the engine's thread has ended",)


def test_a_worker_is_ready_when_assigned_restored_and_each_model_answered() -> None:
    health = Health(models=["delay", "fare"])
    assert set(health.readiness().waiting_for) == {"assigned", "model delay", "model fare"}
    health.model_loaded("delay", "1", "ab", 64)
    health.ready(False, "restoring partitions")
    health.assigned({"flights": [0, 1]})
    assert set(health.readiness().waiting_for) == {"engine", "model fare"}
    health.model_loaded("fare", "1", "cd", 64)
    assert not health.readiness().ready
    health.ready(True, "")
    assert health.readiness().ready


def test_a_worker_without_partitions_is_a_ready_spare() -> None:
    health = Health()
    health.assigned({})
    assert health.readiness().ready


def test_a_recovery_holds_readiness_until_partitions_are_back() -> None:
    health = Health()
    health.assigned({"flights": [0]})
    health.aborted("TransactionAborted", "why")
    assert dict(health.readiness().waiting_for) == {"recovery": "after TransactionAborted: why"}
    health.assigned({"flights": [0]})
    assert health.readiness().ready


def test_a_commit_ends_a_recovery() -> None:
    health = Health()
    health.assigned({"flights": [0]})
    health.aborted("OutcomeUnknown", "why")
    health.committed(10, 0.01)
    assert health.readiness().ready


def test_the_engines_own_word_counts() -> None:
    health = Health()
    health.assigned({"flights": [0]})
    health.ready(False, "Feast is away")
    assert dict(health.readiness().waiting_for) == {"engine": "Feast is away"}
    health.ready(True, "")
    assert health.readiness().ready


def test_the_watchdog_tells_each_stall_once() -> None:
    clock = ManualClock()
    health = Health(deadline_s=60, clock=clock)
    told = threading.Semaphore(0)
    stalls: list[Liveness] = []

    def on_stall(liveness: Liveness) -> None:
        stalls.append(liveness)
        told.release()

    watchdog = Watchdog(health, on_stall, interval_s=0.01)
    watchdog.start()
    clock.advance(100)
    assert told.acquire(timeout=10)
    assert not told.acquire(timeout=0.1)
    watchdog.stop()
    assert [stall.seconds for stall in stalls] == [100]


def test_a_deadline_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="0 s; it must be positive"):
        Health(deadline_s=0)
