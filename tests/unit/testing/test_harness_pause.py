"""An app that is told to pause processes nothing until it is told to go on, and then goes on where it was."""

from __future__ import annotations

import pytest

from streamserve.kafka.control import RUN_KEY, RunState, control_topic
from streamserve.observer import Observer
from streamserve.ops.health import Health
from streamserve.testing import Harness
from streamserve.testing.harness import Fault
from tests.unit.testing.counting import Event, counting


class Told(Observer):
    """Notes what the engine tells of pausing, assignments and recoveries."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def paused(self, paused: bool, why: str) -> None:
        self.lines.append(why if paused else "runs")

    def aborted(self, reason: str, message: str) -> None:
        del message
        self.lines.append(reason)


def say(harness: Harness, value: bytes | None, key: bytes = RUN_KEY) -> None:
    """Write to the control topic, and let the app hear it."""
    _, cluster = harness.kafka
    topic = control_topic("counting")
    if topic not in cluster.topics:
        cluster.create_topic(topic, 1, {})
    cluster.append(topic, value, key, partition=0)
    for _ in range(3):
        harness.advance("1s")


PAUSE = RunState(paused=True, since="2026-01-01T00:00:00+00:00", reason="cleaning").encode()
RUN = RunState().encode()


def test_a_paused_app_processes_nothing_and_goes_on_where_it_was() -> None:
    app, told = counting(), Told()
    with Harness(app.app, partitions=2, observer=told) as harness:
        harness.send(app.events, Event("ann"), Event("bob"))
        say(harness, PAUSE)
        harness.send(app.events, Event("ann"))
        harness.advance("1h")
        assert harness.table(app.seen) == {"ann": 1, "bob": 1}
        say(harness, RUN)
        assert harness.table(app.seen) == {"ann": 2, "bob": 1}
        assert sorted((one.value.user, one.value.times) for one in harness.read(app.out)) == [
            ("ann", 1),
            ("ann", 2),
            ("bob", 1),
        ]
    why = "paused since 2026-01-01T00:00:00+00:00 (cleaning): 'streamserve resume MODULE:APP' goes on"
    assert told.lines == ["runs", why, "runs"]


def test_a_worker_that_starts_while_its_app_is_paused_processes_nothing() -> None:
    app = counting()
    with Harness(app.app) as before:
        before.send(app.events, Event("ann"))
        say(before, PAUSE)
        before.send(app.events, Event("ann"))
    told = Told()
    with Harness(app.app, after=before, observer=told) as harness:
        harness.advance("1h")
        assert harness.table(app.seen) == {"ann": 1}
        say(harness, None)
        assert harness.table(app.seen) == {"ann": 2}, "a deleted record means that the app runs"
    assert [line.split(" ")[0] for line in told.lines] == ["paused", "runs"]


@pytest.mark.parametrize("fault", ["crash", "abort", "fence"])
def test_what_befalls_it_after_a_pause_loses_and_repeats_nothing(fault: Fault) -> None:
    app = counting()
    with Harness(app.app, partitions=2) as harness:
        harness.send(app.events, *[Event(f"user-{number}") for number in range(10)])
        say(harness, PAUSE)
        harness.send(app.events, *[Event(f"user-{number}") for number in range(10)])
        harness.fault(fault)
        say(harness, RUN)
        assert harness.table(app.seen) == {f"user-{number}": 2 for number in range(10)}
        assert len(harness.read(app.out)) == 20


@pytest.mark.parametrize("value", [b"", b"pause", b"[]", b'{"paused": 1}', b'{"paused": "yes"}'])
def test_what_says_nothing_known_changes_nothing(value: bytes) -> None:
    app = counting()
    with Harness(app.app) as harness:
        say(harness, PAUSE)
        say(harness, value)
        say(harness, RUN, key=b"another")
        harness.send(app.events, Event("ann"))
        assert harness.table(app.seen) == {}


def test_health_stays_and_readiness_goes_with_a_pause() -> None:
    app, health = counting(), Health()
    with Harness(app.app, observer=health) as harness:
        say(harness, PAUSE)
        assert health.liveness().paused
        assert "cleaning" in health.readiness().waiting_for["engine"]
        say(harness, RUN)
        assert not health.liveness().paused
        assert health.readiness().ready
