"""How soon a worker works: what librdkafka sleeps over at its start, by default, is woken."""

from __future__ import annotations

import time

import pytest

from streamserve import App
from tests.integration.running import Running, copying, create_topics, send

pytestmark = [pytest.mark.broker, pytest.mark.alone]

STARTS = 8
SLEPT_S = 1.5
"""By default it is 2 s: one for the two transactional ids, and one until the first fetch. What is left is the broker's,
and that of others on the machine: one start of several tells."""


def test_a_worker_sleeps_over_nothing_before_its_first_commit(brokers: str, topic_name: str) -> None:
    app = copying(topic_name)
    create_topics(app, brokers)
    assert any(seconds_slept(app, brokers, f"{topic_name}.in") < SLEPT_S for _ in range(STARTS))


def seconds_slept(app: App, brokers: str, topic: str) -> float:
    """Start a worker with one record to do; return how long that took, without this process's own work."""
    send(brokers, topic, [{"n": 1}])
    began, worked = time.monotonic(), time.process_time()
    with Running(app, brokers) as running:
        running.until_committed(1)
        return time.monotonic() - began - (time.process_time() - worked)
