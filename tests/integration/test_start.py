"""How soon a worker works: what librdkafka sleeps over at its start, by default, is woken."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator

import msgspec
import pytest

from streamserve import App, Stream
from tests.integration.running import Running, create_topics, send

pytestmark = [pytest.mark.broker, pytest.mark.alone]

STARTS = 3


class Event(msgspec.Struct, frozen=True):
    n: int


def test_a_worker_commits_within_the_second_in_which_it_starts(brokers: str, topic_name: str) -> None:
    """By default it takes 2 s: one for the two transactional ids, and one until the first fetch."""
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="n")
    out = app.topic(f"{topic_name}.out", Event, key="n")

    @app.agent(events, to=out)
    async def copy(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield event

    create_topics(app, brokers)
    assert min(seconds_to_commit(app, brokers, events.name) for _ in range(STARTS)) < 1


def seconds_to_commit(app: App, brokers: str, topic: str) -> float:
    """Start a worker with one record to do; return how long that took."""
    send(brokers, topic, [{"n": 1}])
    began = time.monotonic()
    with Running(app, brokers) as running:
        running.until_committed(1)
        return time.monotonic() - began
