"""How soon a worker works: what librdkafka sleeps over at its start, by default, is woken."""

from __future__ import annotations

import time

import pytest

from streamserve import App
from tests.integration.running import Running, copying, create_topics, send

pytestmark = [pytest.mark.broker, pytest.mark.alone]

STARTS = 8
"""The machine may be busy: one start within the second shows that nothing sleeps."""


def test_a_worker_commits_within_the_second_in_which_it_starts(brokers: str, topic_name: str) -> None:
    """By default it takes 2 s: one for the two transactional ids, and one until the first fetch."""
    app = copying(topic_name)
    create_topics(app, brokers)
    assert any(seconds_to_commit(app, brokers, f"{topic_name}.in") < 1 for _ in range(STARTS))


def seconds_to_commit(app: App, brokers: str, topic: str) -> float:
    """Start a worker with one record to do; return how long that took."""
    send(brokers, topic, [{"n": 1}])
    began = time.monotonic()
    with Running(app, brokers) as running:
        running.until_committed(1)
        return time.monotonic() - began
