"""What a worker does while nothing comes in."""

from __future__ import annotations

import pytest

from streamserve.dataflow.running import housekeeping
from streamserve.dataflow.running.worker import Worker
from streamserve.testing.checks import committed_offsets
from streamserve.testing.faults import FaultSwitch
from tests.integration.running import Running, copying, create_topics, send, settings_of
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker


def test_committed_offsets_are_renewed_before_the_broker_forgets_them(
    brokers: str, topic_name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    app = copying(topic_name)
    create_topics(app, brokers)
    send(brokers, f"{topic_name}.in", [{"n": 1}, {"n": 2}])
    monkeypatch.setattr(housekeeping, "_RECOMMIT_SECONDS", 0.5)
    running, switch = Running(app, brokers), FaultSwitch()
    running.worker = Worker(app.plan(), settings_of(app, brokers), observer=running.recorder, hook=switch)
    with running:
        running.until_committed(2)
        before = switch.counts["producer.commit_transaction", "after"]
        wait_until(lambda: switch.counts["producer.commit_transaction", "after"] >= before + 2, "two renewals")
    assert committed_offsets(brokers, topic_name, [f"{topic_name}.in"]) == {(f"{topic_name}.in", 0): 2}
    assert (running.recorder.records, running.recorder.restarts) == (2, [])
