"""The control topic: what it says, and that a worker hears it, whether it was there before or comes later."""

from __future__ import annotations

import pytest

from streamserve.clock import ManualClock
from streamserve.kafka.calls import Calls
from streamserve.kafka.control import RUN_KEY, ControlReader, RunState
from streamserve.settings import load_settings
from streamserve.testing.memory_kafka import Cluster, memory_clients

TOPIC = "shop-control"
PAUSED = RunState(paused=True, since="2026-01-01T00:00:00+00:00", reason="cleaning")


@pytest.fixture
def cluster() -> Cluster:
    return Cluster(ManualClock())


def reader(cluster: Cluster, *, exists: bool) -> ControlReader:
    return ControlReader("shop", load_settings(), Calls(clients=memory_clients(cluster)), exists=exists)


def read_to_its_end(control: ControlReader) -> RunState:
    while not control.loaded:
        control.step()
    return control.state


def test_a_state_is_what_it_was_after_its_way_through_the_topic() -> None:
    assert RunState.decode(PAUSED.encode()) == PAUSED
    assert RunState.decode(None) == RunState(paused=False)


@pytest.mark.parametrize("value", [b"", b"\xff", b"1", b"[]", b"null", b"{}", b'{"paused": 1}'])
def test_what_says_nothing_known_is_none(value: bytes) -> None:
    assert RunState.decode(value) is None


def test_the_last_record_that_says_something_counts(cluster: Cluster) -> None:
    cluster.create_topic(TOPIC, 1, {})
    for value in (RunState().encode(), PAUSED.encode(), b"?"):
        cluster.append(TOPIC, value, RUN_KEY, partition=0)
    cluster.append(TOPIC, b'{"paused": false}', b"another", partition=0)
    assert read_to_its_end(reader(cluster, exists=True)) == PAUSED


def test_an_empty_topic_means_that_the_app_runs(cluster: Cluster) -> None:
    cluster.create_topic(TOPIC, 1, {})
    assert not read_to_its_end(reader(cluster, exists=True)).paused


def test_a_topic_that_comes_later_is_found_and_nobody_waits_for_it(cluster: Cluster) -> None:
    control = reader(cluster, exists=False)
    assert control.loaded
    control.step()
    control.step()
    assert not control.exists
    cluster.create_topic(TOPIC, 1, {})
    cluster.append(TOPIC, PAUSED.encode(), RUN_KEY, partition=0)
    for _ in range(3):
        control.step()
    assert (control.exists, control.state) == (True, PAUSED)


def test_a_topic_that_cannot_be_read_is_no_reason_not_to_process(cluster: Cluster) -> None:
    control = reader(cluster, exists=True)
    control.step()
    assert (control.loaded, control.state.paused) == (True, False)
