"""Health tells a stall by its cause, and what readiness waits for."""

from __future__ import annotations

import threading

import pytest

from streamserve.clock import ManualClock
from streamserve.errors import ConfigurationError
from streamserve.ops.health import Health, Liveness, Watchdog
from streamserve.records import Span


class Silent:
    """Listens, and does nothing."""

    def stalled(self, liveness: Liveness) -> None: ...

    def standing(self, liveness: Liveness) -> None: ...

    def moving(self, seconds: float) -> None: ...


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

    class Listener(Silent):
        def stalled(self, liveness: Liveness) -> None:
            stalls.append(liveness)
            told.release()

    watchdog = Watchdog(health, [Listener()], interval_s=0.01)
    watchdog.start()
    clock.advance(100)
    assert told.acquire(timeout=10)
    assert not told.acquire(timeout=0.1)
    watchdog.stop()
    assert [stall.seconds for stall in stalls] == [100]


def test_the_watchdog_tells_when_the_engine_goes_on() -> None:
    clock = ManualClock()
    health = Health(deadline_s=60, clock=clock)
    stood, moved = threading.Event(), threading.Event()

    class Listener(Silent):
        def standing(self, liveness: Liveness) -> None:
            assert not liveness.healthy
            stood.set()

        def moving(self, seconds: float) -> None:
            assert seconds == 100
            moved.set()

    watchdog = Watchdog(health, [Listener()], interval_s=0.01)
    watchdog.start()
    clock.advance(100)
    assert stood.wait(10)
    health.progress()
    assert moved.wait(10)
    watchdog.stop()


def test_a_process_that_was_paused_is_not_ended_for_it() -> None:
    clock = ManualClock()
    health = Health(deadline_s=0.02, clock=clock)
    ended: list[float] = []
    looks = threading.Semaphore(0)

    class Listener(Silent):
        def standing(self, liveness: Liveness) -> None:
            assert not liveness.healthy
            looks.release()

    given_up = threading.Event()

    def give_up(liveness: Liveness) -> None:
        ended.append(liveness.seconds)
        given_up.set()

    watchdog = Watchdog(health, [Listener()], interval_s=0.01, hopeless_s=0.1, give_up=give_up)
    clock.advance(1_000)  # as after SIGSTOP: it has stood for long, but nobody has watched
    watchdog.start()
    assert looks.acquire(timeout=10)
    assert ended == []
    assert given_up.wait(10)
    assert ended == [1_000]
    watchdog.stop()


def test_a_stall_names_what_runs_and_where_its_records_stand() -> None:
    class Rows:
        def spans(self) -> list[Span]:
            return [Span("in", 2, 40, 47), Span("in", 3, 5, 5)]

    clock = ManualClock()
    health = Health(deadline_s=60, clock=clock)
    health.entered("agent", "predict", Rows())
    health.entered("step", "inner")
    health.left()
    health.entered("features", "delay_v1")
    clock.advance(61)
    liveness = health.liveness()
    assert liveness.doing == ("agent predict", "features delay_v1")
    assert liveness.call == "features delay_v1"
    assert liveness.as_dict()["at"] == ["in[2]@40-47", "in[3]@5"]
    health.left()
    assert health.liveness().healthy
    health.progress()
    clock.advance(61)
    assert health.liveness().doing == ()
    assert health.liveness().call == "engine"


def test_a_deadline_must_be_positive() -> None:
    with pytest.raises(ConfigurationError, match="0 s; it must be positive"):
        Health(deadline_s=0)
