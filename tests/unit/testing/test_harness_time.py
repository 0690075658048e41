"""Awkward partitions, keys and clocks: what state and windows come to, on the engine with a Kafka in memory."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from streamserve import App, Batch, Stream, Table, Topic, aggregates, session, tumbling
from streamserve.state.definition import TableDefinition
from streamserve.state.format import PAYLOAD
from streamserve.state.pending import Pending
from streamserve.state.store import MemoryStore
from streamserve.state.table import TableState
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)


class Visit(msgspec.Struct, frozen=True):
    user: str
    at: datetime
    shop: str = "s"


class Count(msgspec.Struct, frozen=True):
    key: str
    start: datetime
    value: int


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def counting(name: str, *, lateness: str = "0s") -> tuple[App, Topic[Visit, str], Topic[Count, str]]:
    """Return an app that counts visits by user in windows of 10 s."""
    app = App(name)
    visits = app.topic("visits", Visit, key="user", event_time="at", max_out_of_orderness=lateness)
    counts = app.topic(f"counts-{name}", Count, key="key")
    app.aggregate("visits-by-user", visits, aggregates.count(), window=tumbling("10s"), to=counts)
    return app, visits, counts


def closed(harness: Harness, counts: Topic[Count, str]) -> set[tuple[str, datetime, int]]:
    return {(record.value.key, record.value.start, record.value.value) for record in harness.read(counts)}


def test_an_idle_partition_holds_back_only_itself() -> None:
    """Each partition has a watermark of its own: what is still open in a silent one stays open, for it may go on."""
    app, visits, counts = counting("idle")
    with Harness(app, partitions=2) as harness:
        harness.send(visits, Visit("quiet", at(1)), partition=0)
        harness.send(visits, Visit("busy", at(2)), Visit("busy", at(3)), Visit("busy", at(25)), partition=1)
        harness.advance("1h")
        assert closed(harness, counts) == {("busy", at(0), 2)}
        harness.send(visits, Visit("quiet", at(4)), Visit("quiet", at(30)), partition=0)
        assert closed(harness, counts) == {("busy", at(0), 2), ("quiet", at(0), 2)}


def test_rows_that_wait_for_earlier_ones_are_let_go_once_their_partition_is_idle() -> None:
    app, visits, counts = counting("patient", lateness="1m")
    with Harness(app) as harness:
        harness.send(visits, Visit("a", at(5)), Visit("a", at(3)))
        assert harness.changelog("patient-visits-by-user-changelog").keys() <= {b"clock"}
        harness.advance("61s")
        assert len(harness.changelog("patient-visits-by-user-changelog").keys() - {b"clock"}) == 1
        assert closed(harness, counts) == set()


def test_an_empty_partition_does_not_hold_back_regrouped_events() -> None:
    """Three of four partitions have no record at all: once they count as idle, sessions by shop close."""
    app = App("empty")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    counts = app.topic("stays", Count, key="key")
    app.aggregate("stay", visits.group_by("shop"), aggregates.count(), window=session("10s"), to=counts)
    with Harness(app, partitions=4) as harness:
        harness.send(visits, *(Visit("a", at(second)) for second in range(5)), partition=2)
        harness.send(visits, Visit("a", at(100)), partition=2)
        for _ in range(5):
            harness.advance("10s")
        assert closed(harness, counts) == {("s", at(0), 5)}


def test_regrouped_windows_close_as_their_sources_go_on_though_no_more_events_come_to_them() -> None:
    """All later events are regrouped to another partition: the sources' watermarks tell this one that time goes on."""
    app = App("moved-on")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    counts = app.topic("stays", Count, key="key")
    app.aggregate("stay", visits.group_by("shop"), aggregates.count(), window=session("10s"), to=counts)
    here, there = "LGA", "EWR"  # of two partitions the first and the second
    with Harness(app, partitions=2) as harness:
        for partition in range(2):
            harness.send(visits, Visit("u", at(0), here), Visit("u", at(100), there), partition=partition)
        harness.advance("2s")
        assert closed(harness, counts) == {(here, at(0), 2)}


@pytest.mark.parametrize("fault", [None, "crash", "rebalance"])
@pytest.mark.parametrize("ahead", [0, 1])
def test_where_all_sources_are_idle_regrouped_time_is_that_of_the_one_furthest_ahead(
    fault: Fault | None, ahead: int
) -> None:
    """Whichever is idle first, and though an idle one is taken over by a worker that cannot know that it is."""
    app = App("ahead")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    counts = app.topic("stays", Count, key="key")
    app.aggregate("stay", visits.group_by("shop"), aggregates.count(), window=session("10s"), to=counts)
    here, there = "LGA", "EWR"  # of two partitions the first and the second
    with Harness(app, partitions=2) as harness:
        harness.send(visits, Visit("u", at(0), here), partition=1 - ahead)
        harness.advance("30s")
        if fault is not None:
            harness.fault(fault)
        harness.send(visits, Visit("u", at(5), there), Visit("u", at(100), there), partition=ahead)
        for _ in range(3):
            harness.advance("5s")
        assert closed(harness, counts) == {(here, at(0), 1), (there, at(5), 1)}


def test_a_topic_with_dots_in_its_name_can_be_regrouped() -> None:
    app = App("dots")
    visits = app.topic("eu.visits", Visit, key="user", event_time="at")
    counts = app.topic("stays", Count, key="key")
    app.aggregate("stay", visits.group_by("shop"), aggregates.count(), window=session("10s"), to=counts)
    with Harness(app) as harness:
        harness.send(visits, Visit("a", at(0)), Visit("b", at(1)), Visit("a", at(100)))
        harness.advance("10s")
        assert closed(harness, counts) == {("s", at(0), 2)}


def test_a_clock_that_jumps_back_changes_no_result() -> None:
    """Event times that jump back by less than is allowed count where they belong, others not at all."""
    app, visits, counts = counting("jumps", lateness="5s")
    with Harness(app, now=at(1_000)) as harness:
        harness.send(visits, Visit("a", at(15)), Visit("a", at(11)))
        harness.send(visits, Visit("a", at(25)))
        harness.send(visits, Visit("a", at(12)), Visit("a", at(-86_400)))
        harness.send(visits, Visit("a", at(35)))
        assert closed(harness, counts) == {("a", at(10), 2), ("a", at(20), 1)}
        assert harness.dead_letters() == []


def test_a_producers_clock_that_jumps_back_moves_no_watermark_back() -> None:
    """Where a topic has no field for it, event time is the record's own timestamp."""
    app = App("stamps")
    visits = app.topic("visits", Visit, key="user")
    counts = app.topic("counts", Count, key="key")
    app.aggregate("seen", visits, aggregates.count(), window=tumbling("10s"), to=counts)
    with Harness(app) as harness:
        for second in (5, 15, 3, 16, 25):
            harness.send(visits, Visit("a", at(0)), timestamp=at(second))
        assert closed(harness, counts) == {("a", at(0), 1), ("a", at(10), 2)}


def test_two_apps_on_one_topic_keep_their_state_apart() -> None:
    """Each has every record, its own offsets and its own changelogs, though their tables have one name."""

    def app_of(name: str, step: int) -> tuple[App, Topic[Visit, str], Table[str, int]]:
        app = App(name)
        visits = app.topic("visits", Visit, key="user", event_time="at")
        table = app.table("totals", int, default=int)

        @app.agent(visits)
        async def add(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
            async for visit in stream:
                table.update(visit.user, lambda total: total + step)

        return app, visits, table

    first, visits, ones = app_of("first", 1)
    second, _, tens = app_of("second", 10)
    with Harness(first) as harness:
        harness.send(visits, Visit("a", at(0)), Visit("b", at(1)))
        harness.send(visits, Visit("a", at(2)))
        assert harness.table(ones) == {"a": 2, "b": 1}
    with Harness(second, after=harness) as other:
        other.send(visits, Visit("b", at(3)))
        assert other.table(tens) == {"a": 20, "b": 20}
    with Harness(first, after=other) as again:
        again.send(visits, Visit("a", at(4)))
        assert again.table(ones) == {"a": 3, "b": 2}


def test_a_key_with_very_many_updates_writes_one_record_a_commit() -> None:
    app = App("skew")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    seen = app.table("seen", int, default=int)
    out = app.topic("out", Count, key="key")

    @app.batch_agent(visits, to=out)
    def count(batch: Batch[Visit]) -> Sequence[None]:  # pyright: ignore[reportUnusedFunction]
        for visit in batch:
            seen.update(visit.user, lambda number: number + 1)
        return [None] * len(batch)

    with Harness(app) as harness:
        for _ in range(5):
            harness.send(visits, *[Visit("hot", at(0))] * 4_000)
        assert harness.table(seen) == {"hot": 20_000}
        assert len(harness.read_bytes("skew-seen-changelog")) == 5


def test_a_million_updates_of_one_key_take_no_memory() -> None:
    definition = TableDefinition("seen", msgspec.json.encode, msgspec.json.decode, int, exact=int)
    table = TableState(definition, MemoryStore())
    blocks: list[int] = []
    for commit in range(1, 11):
        batch = Pending(0)
        for _ in range(100_000):
            table.update(batch, b"hot", lambda number: number + 1)
        batch.commit()
        keys, [value] = table.take_changes()
        assert keys == [b"hot"]
        assert msgspec.json.decode((value or b"")[PAYLOAD:]) == commit * 100_000
        blocks.append(sys.getallocatedblocks())
    assert blocks[-1] - blocks[1] < 1_000
