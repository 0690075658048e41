"""Offsets that are set back while the state is kept: what is read again, and what is not told twice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import msgspec

from streamserve import App, Stream, aggregates, tumbling
from streamserve.ops.offsets import plan_reset
from streamserve.settings import Settings
from streamserve.testing import Harness
from streamserve.testing.memory_kafka import memory_clients
from streamserve.testing.memory_kafka.log import StoredOffset

START = datetime(2024, 1, 1, tzinfo=UTC)


class Visit(msgspec.Struct, frozen=True):
    user: str
    at: datetime


class Count(msgspec.Struct, frozen=True):
    key: str
    start: datetime
    value: int


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def set_back(app: App, harness: Harness) -> None:
    """Do what ``streamserve offsets reset --to earliest`` does."""
    _, cluster = harness.kafka
    group = cluster.group(app.name)
    for move in plan_reset(app.plan(), Settings(), "earliest", clients=memory_clients(cluster)):
        group.await_commit(*move.at.place)
        group.settle(*move.at.place, StoredOffset(move.to or 0, move.metadata))


def test_windows_that_have_closed_stay_closed_and_the_open_one_counts_what_is_not_late() -> None:
    app = App("again")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    counts = app.topic("counts", Count, key="key")
    app.aggregate("by-user", visits, aggregates.count(), window=tumbling("10s"), to=counts)
    seen = app.table("seen", int, default=int)

    @app.agent(visits)
    async def note(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for visit in stream:
            seen.update(visit.user, lambda number: number + 1)

    def told(harness: Harness) -> list[tuple[datetime, int]]:
        return [(record.value.start, record.value.value) for record in harness.read(counts)]

    with Harness(app) as before:
        before.send(visits, *(Visit("a", at(second)) for second in (1, 2, 12, 21, 22)))
        assert told(before) == [(at(0), 2), (at(10), 1)]
    set_back(app, before)
    with Harness(app, after=before) as harness:
        assert harness.table(seen) == {"a": 10}, "a table counts what is read again"
        assert told(harness) == [(at(0), 2), (at(10), 1)]
        harness.send(visits, Visit("a", at(30)))
        assert told(harness)[2:] == [(at(20), 3)], "the visit at 21 s is older than time had come"
        assert harness.dead_letters() == []
