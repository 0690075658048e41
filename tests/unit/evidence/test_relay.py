"""A relay of faults: each counts from the one before."""

from __future__ import annotations

import pytest
from confluent_kafka import KafkaException

from streamserve.testing.faults import Fault
from tests.integration.relay import ENOUGH_COMMITS, LATE_CALL, Relay, relayed


def commit(relay: Relay, times: int) -> None:
    for _ in range(times):
        relay("producer.commit_transaction", "before")
        relay("producer.commit_transaction", "after")


def test_ordinals_count_from_the_fault_before(capsys: pytest.CaptureFixture[str]) -> None:
    twice = Fault("producer.flush", "before", 2, "raise")
    relay = Relay([twice, twice], lambda: None)
    for _ in range(2):
        relay("producer.flush", "before")
        with pytest.raises(KafkaException):
            relay("producer.flush", "before")
    relay("producer.flush", "before")
    assert capsys.readouterr().err.splitlines() == ["struck: 0", "struck: 1"]


def test_the_worker_is_stopped_when_it_has_recovered_from_the_last_fault() -> None:
    stops: list[None] = []
    relay = Relay([Fault("producer.flush", "before", 1, "raise")], lambda: stops.append(None))
    commit(relay, ENOUGH_COMMITS - 1)
    with pytest.raises(KafkaException):
        relay("producer.flush", "before")
    commit(relay, ENOUGH_COMMITS - 1)
    assert not stops
    commit(relay, 1)
    assert stops


def test_a_fault_stays_armed_while_the_worker_stops() -> None:
    stops: list[None] = []
    relay = Relay([Fault("consumer.stable_end", "after", 1, "raise")], lambda: stops.append(None))
    commit(relay, ENOUGH_COMMITS)
    assert stops
    with pytest.raises(KafkaException):
        relay("consumer.stable_end", "after")


def test_a_worker_is_not_stopped_before_a_call_that_comes_late() -> None:
    stops: list[None] = []
    relay = Relay([Fault(LATE_CALL, "before", 1, "raise")], lambda: stops.append(None))
    commit(relay, 3 * ENOUGH_COMMITS)
    assert not stops


def test_other_faults_are_for_the_switch() -> None:
    assert relayed("producer.flush:before:1:kill", lambda: None) is None
    assert relayed("relay:producer.flush:before:1:kill", lambda: None) is not None
