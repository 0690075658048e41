"""What a worker does while nothing comes in."""

from __future__ import annotations

from collections.abc import AsyncIterator

import msgspec
import pytest

from streamserve import App, Stream
from streamserve.dataflow import housekeeping
from streamserve.dataflow.worker import Worker
from streamserve.testing.checks import committed_offsets
from streamserve.testing.faults import FaultSwitch
from tests.integration.driving import wait_until
from tests.integration.running import Running, create_topics, send, settings_of

pytestmark = [pytest.mark.broker, pytest.mark.timeout(180)]


class Event(msgspec.Struct, frozen=True):
    n: int


def test_committed_offsets_are_renewed_before_the_broker_forgets_them(
    brokers: str, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="n")
    out = app.topic(f"{topic_name}.out", Event, key="n")

    @app.agent(events, to=out)
    async def copy(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield event

    create_topics(app, brokers)
    send(brokers, events.name, [{"n": 1}, {"n": 2}])
    monkeypatch.setattr(housekeeping, "_RECOMMIT_SECONDS", 0.5)
    running, switch = Running(app, brokers), FaultSwitch()
    running.worker = Worker(app.plan(), settings_of(app, brokers), observer=running.recorder, hook=switch)
    with running:
        running.until_committed(2)
        before = switch.counts["producer.commit_transaction", "after"]
        wait_until(lambda: switch.counts["producer.commit_transaction", "after"] >= before + 2, "two renewals")
    assert committed_offsets(brokers, topic_name, [events.name]) == {(events.name, 0): 2}
    assert (running.recorder.records, running.recorder.restarts) == (2, [])
