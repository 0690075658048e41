"""Tables, windows and regrouped topics, run by the engine on an in-memory Kafka, with and without faults."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve import App, Batch, Regression, Stream, Table, Topic, aggregates, hopping, session, tumbling
from streamserve.errors import ConfigurationError, PlanError
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)
FAULTS: tuple[Fault, ...] = ("crash", "abort", "fence", "rebalance")


class Event(msgspec.Struct, frozen=True):
    n: float
    user: str = "u"
    at: datetime = START
    group: str = "g"


class Visit(msgspec.Struct, frozen=True):
    user: str
    at: datetime


class Count(msgspec.Struct, frozen=True):
    user: str
    start: datetime
    end: datetime
    value: float


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def app_with_topics(**more: Any) -> tuple[App, Topic[Event, str], Topic[Event, str]]:
    app = App("stateful")
    return app, app.topic("events", Event, key="user", event_time="at", **more), app.topic("out", Event, key="user")


@pytest.mark.parametrize("io", [False, True])
@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_an_agents_table_holds_what_was_committed_and_nothing_of_failed_events(fault: Fault | None, io: bool) -> None:
    app, events, out = app_with_topics()
    seen = app.table("seen", int, default=int)

    @app.agent(events, to=out, io=io)
    async def count(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            if io:
                await asyncio.sleep(0)
            yield Event(seen.update(event.user, lambda number: number + 1), event.user)
            if event.n < 0:
                raise ValueError

    with Harness(app, partitions=2) as harness:
        assert harness.table(seen) == {}
        harness.send(events, Event(0, "a"), Event(0, "b"), Event(-1, "a"), Event(0, "a"))
        if fault is not None:
            harness.fault(fault)
        harness.send(events, Event(0, "a"), Event(-1, "b"), Event(0, "c"))
        assert harness.table(seen) == {"a": 3, "b": 1, "c": 1}
        assert [record.value.n for record in harness.read(out) if record.key == "a"] == [1, 2, 3]
        assert len(harness.dead_letters()) == 2


def test_a_coroutine_agent_writes_its_last_event_too() -> None:
    app, events, _ = app_with_topics()
    seen = app.table("seen", int)

    @app.agent(events)
    async def note(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            seen[record.value.user] = int(record.value.n)
            if record.value.n == 2:
                return

    with Harness(app) as harness:
        harness.send(events, Event(1, "a"), Event(2, "a"), Event(3, "b"))
        assert harness.table(seen) == {"a": 2, "b": 3}


def test_the_key_of_another_record_is_refused_and_costs_one_dead_letter() -> None:
    app, events, _ = app_with_topics()
    seen = app.table("seen", int, default=int)

    @app.agent(events)
    async def meddle(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen[event.user if event.n else "someone else"] = 1

    with Harness(app) as harness:
        harness.send(events, Event(1, "a"), Event(0, "b"), Event(1, "c"))
        assert harness.table(seen) == {"a": 1, "c": 1}
        [letter] = harness.dead_letters()
    assert letter.reason == "wrong-partition"
    assert "group_by" in letter.message


def test_a_value_changed_in_place_fails_its_event() -> None:
    app, events, _ = app_with_topics()
    lists: Table[str, list[float]] = app.table("lists", list[float], default=list)

    @app.agent(events)
    async def append(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            if event.n:
                lists.update(event.user, lambda old: [*old, 1.0])
            else:
                lists[event.user].append(2.0)

    with Harness(app) as harness:
        harness.send(events, Event(1), Event(0), Event(1))
        assert harness.table(lists) == {"u": [1.0, 1.0]}
        [letter] = harness.dead_letters()
    assert "table.update(key, fn)" in letter.message


def test_an_output_that_does_not_encode_takes_the_tables_change_back() -> None:
    app, events, out = app_with_topics()
    seen = app.table("seen", int, default=int)

    @app.agent(events, to=out)
    async def count(stream: Stream[Event]) -> AsyncIterator[Any]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)
            yield event if event.n else "not an event"

    with Harness(app) as harness:
        harness.send(events, Event(1, "a"), Event(0, "a"), Event(2, "a"))
        assert harness.table(seen) == {"a": 2}
        assert [letter.source.offset for letter in harness.dead_letters()] == [1]
        assert [record.value.n for record in harness.read(out)] == [1, 2]


def test_a_batch_agents_tables_are_undone_where_it_raises() -> None:
    app, events, out = app_with_topics()
    seen = app.table("seen", int, default=int)

    @app.batch_agent(events, to=out)
    def count(batch: Batch[Event]) -> Sequence[Event]:  # pyright: ignore[reportUnusedFunction]
        made = [Event(seen.update(event.user, lambda number: number + 1), event.user) for event in batch]
        if any(event.n < 0 for event in batch):
            raise ValueError
        return made

    with Harness(app, partitions=2) as harness:
        harness.send(events, Event(0, "a"), Event(-1, "a"), Event(0, "a"), Event(0, "b"))
        assert harness.table(seen) == {"a": 2, "b": 1}
        assert sorted((record.key, record.value.n) for record in harness.read(out)) == [("a", 1), ("a", 2), ("b", 1)]


def test_values_live_as_long_as_their_time_to_live_in_event_time() -> None:
    app, events, out = app_with_topics()
    seen = app.table("seen", int, default=int, ttl="10s")

    @app.agent(events, to=out)
    async def count(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Event(seen.update(event.user, lambda number: number + 1), event.user)

    with Harness(app) as harness:
        for seconds in (0, 9, 18, 29):
            harness.send(events, Event(0, "a", at(seconds)))
        assert [record.value.n for record in harness.read(out)] == [1, 2, 3, 1]


def test_an_unreadable_value_stops_the_app_rather_than_its_records() -> None:
    def app_of(kind: type[Any], value: Any) -> tuple[App, Topic[Event, str]]:
        app, events, _ = app_with_topics()
        table = app.table("seen", kind)

        @app.agent(events)
        async def note(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
            async for event in stream:
                _ = table.get(event.user)
                table[event.user] = value

        return app, events

    app, events = app_of(str, "word")
    with Harness(app) as first:
        first.send(events, Event(1))
    app, events = app_of(float, 1.0)
    with (
        pytest.raises(ConfigurationError, match="does not fit the table's type any more"),
        Harness(app, after=first) as second,
    ):
        second.send(events, Event(2))


def test_tables_answer_only_inside_an_app() -> None:
    app, _, _ = app_with_topics()
    with pytest.raises(ConfigurationError, match="only inside a running app"):
        app.table("seen", int)["a"] = 1


def windowed(**more: Any) -> tuple[App, Topic[Event, str], Topic[Event, str], Topic[Count, str]]:
    app, events, out = app_with_topics(**more)
    counts = app.topic("counts", Count, key="user")
    spent = app.aggregate("spent", events, aggregates.sum("n"), window=tumbling("10s"), to=counts)

    @app.agent(events, to=out)
    async def tell(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Event(spent[event.user] or 0, event.user, event.at)

    return app, events, out, counts


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_window_is_read_at_the_events_own_place_and_written_when_it_closes(fault: Fault | None) -> None:
    app, events, out, counts = windowed()
    with Harness(app) as harness:
        harness.send(events, Event(1, at=at(1)), Event(2, at=at(3)), Event(5, "v", at(4)))
        if fault is not None:
            harness.fault(fault)
        harness.send(events, Event(4, at=at(9)), Event(8, at=at(12)))
        assert [record.value.n for record in harness.read(out) if record.key == "u"] == [1, 3, 7, 8]
        assert [record.value for record in harness.read(counts)] == [
            Count("u", at(0), at(10), 7),
            Count("v", at(0), at(10), 5),
        ]


TIMES = st.lists(st.integers(0, 100), min_size=1, max_size=25)


@settings(max_examples=30, deadline=None)
@given(TIMES, st.randoms(use_true_random=False), st.sampled_from([None, *FAULTS]))
def test_results_do_not_depend_on_arrival_within_the_allowed_lateness(
    times: list[int], chance: Any, fault: Fault | None
) -> None:
    """What agents read and windows come to is as in order of time, whatever the order, the polls and the faults."""
    ordered = sorted(times)
    shuffled = sorted(range(len(ordered)), key=lambda n: ordered[n] + chance.uniform(0, 20))
    app, events, out, counts = windowed(max_out_of_orderness="20s")
    with Harness(app) as harness:
        for place in shuffled:
            if fault is not None and chance.random() < 0.2:
                harness.fault(fault)
            harness.send(events, Event(1, at=at(ordered[place])))
        harness.send(events, Event(0, at=at(1_000)))
        harness.advance("1h")  # lets go of the last
        seen = [(record.value.at, record.value.n) for record in harness.read(out)]
        closed = {(record.value.start, record.value.value) for record in harness.read(counts)}
        assert harness.dead_letters() == []
    running: dict[int, int] = defaultdict(int)
    expected: list[tuple[datetime, float]] = []
    for seconds in ordered:
        running[seconds // 10] += 1
        expected.append((at(seconds), running[seconds // 10]))
    assert seen == [*expected, (at(1_000), 0)]
    assert closed == {(at(10 * window), float(total)) for window, total in running.items()}


def test_late_records_go_where_their_topic_says() -> None:
    for late, dead, read in (("process", 0, [1, 2, 3]), ("drop", 0, [1, 2]), ("dead-letter", 1, [1, 2])):
        app, events, out = app_with_topics(max_out_of_orderness="5s", late=late)
        app.agent(events, to=out)(echo)
        with Harness(app) as harness:
            harness.send(events, Event(1, at=at(10)), Event(2, at=at(20)), Event(3, at=at(14)))
            harness.advance("1m")
            assert len(harness.dead_letters()) == dead
            assert sorted(record.value.n for record in harness.read(out)) == read


def test_late_records_can_have_a_topic_of_their_own() -> None:
    app = App("stateful")
    aside = app.topic("late", Event, key="user")
    events = app.topic("events", Event, key="user", event_time="at", late=aside)
    out = app.topic("out", Event, key="user")
    app.agent(events, to=out)(echo)
    with Harness(app) as harness:
        harness.send(events, Event(1, at=at(10)), Event(2, at=at(9)), Event(3, at=at(11)))
        assert [record.value.n for record in harness.read(out)] == [1, 3]
        assert [record.value.n for record in harness.read(aside)] == [2]


async def echo(stream: Stream[Event]) -> AsyncIterator[Event]:
    async for event in stream:
        yield event


def test_a_window_divided_by_a_field_is_read_with_the_events_own() -> None:
    app, events, out = app_with_topics()
    spent = app.aggregate("spent", events, aggregates.count(), window=hopping("1h", step="15m"), by="group")

    @app.agent(events, to=out)
    async def tell(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Event(spent[event.user], event.user, event.at, event.group)

    with Harness(app) as harness:
        harness.send(events, *(Event(0, at=at(n), group=group) for n, group in enumerate("aabab")))
        assert [record.value.n for record in harness.read(out)] == [1, 2, 1, 3, 2]


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_regrouped_events_meet_under_their_new_key_in_order_of_time(fault: Fault | None) -> None:
    app, events, out = app_with_topics()
    by_group = events.group_by("group")
    counts = app.topic("counts", Count, key="user")
    app.aggregate(
        "visits",
        by_group,
        aggregates.count(),
        window=session("30s"),
        to=counts,
        output=lambda window: Count(window.key, window.start, window.end, float(window.value)),
    )

    @app.agent(by_group, to=out)
    async def tell(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            assert record.key == record.value.group
            yield record.value

    with Harness(app, partitions=4) as harness:
        sent = [Event(n, f"user-{n % 7}", at(n * 2), "even" if n % 2 == 0 else "odd") for n in range(40)]
        harness.send(events, *sent[:20])
        if fault is not None:
            harness.fault(fault)
        harness.send(events, *sent[20:])
        harness.advance("10s")
        harness.send(events, *(Event(0, f"user-{n}", at(10_000 + n), f"end-{n}") for n in range(30)))
        for _ in range(5):
            harness.advance("10s")
        for group in ("even", "odd"):
            times = [record.value.at for record in harness.read(out) if record.value.group == group]
            assert times == [event.at for event in sent if event.group == group]
        found = {record.value.user: record.value for record in harness.read(counts)}
    assert found["even"] == Count("even", at(0), at(76 + 30), 20)
    assert found["odd"] == Count("odd", at(2), at(78 + 30), 20)


class Scored(msgspec.Struct, frozen=True):
    user: str
    value: float


@pytest.mark.parametrize("level", ["score", "agent"])
def test_a_window_joins_the_feature_row_as_of_the_event(level: str) -> None:
    """Payments are counted, visits are scored: each sees the payments up to its own time, and none is a null."""
    app = App("scoring")
    payments = app.topic("payments", Event, key="user", event_time="at", max_out_of_orderness="5s")
    visits = app.topic("visits", Visit, key="user", event_time="at", max_out_of_orderness="5s")
    scored = app.topic("scored", Scored, key="user")
    spent = app.aggregate("spent", payments, aggregates.sum("n"), window=hopping("1m", step="10s"))
    features = app.features("users", event=Visit, windows={"spent": spent})
    model = app.model("risk", inputs=[features], output=Regression)
    if level == "score":
        app.score(visits, features=features, model=model, to=scored)
    else:

        @app.agent(visits, to=scored, ordering="unordered")
        async def score(stream: Stream[Visit]) -> AsyncIterator[Scored]:  # pyright: ignore[reportUnusedFunction]
            async for visit in stream:
                row = await features.get(visit)
                assert row.status["spent"] == ("null" if row["spent"] is None else "present")
                yield Scored(visit.user, (await model.predict(row)).output.value)

    rows = list[Any]()

    def predict(row: Any) -> Regression:
        rows.append(row)
        return Regression(-1.0 if row["spent"] is None else row["spent"] * row["weight"])

    with Harness(app, features={"users": lambda _: {"weight": 2.0}}, models={"risk": predict}) as harness:
        with harness.together():
            harness.send(visits, Visit("u", at(4)), Visit("u", at(2)), Visit("v", at(9)))
            harness.send(payments, Event(3, "u", at(3)), Event(1, "u", at(1)), Event(5, "u", at(8)))
        harness.send(visits, Visit("u", at(9)))
        harness.advance("1m")
        answers = [(record.key, record.value.value) for record in harness.read(scored)]
    assert answers == [("u", 2.0), ("u", 8.0), ("v", -1.0), ("u", 18.0)]


def test_one_name_is_one_regrouping() -> None:
    app, events, _ = app_with_topics()
    assert events.group_by("group").name == events.group_by("group").name == "stateful-events-by-group-regrouped"
    with pytest.raises(PlanError, match="declared twice with different keys"):
        events.key_by(lambda event: event.n, name="events-by-group")
    assert [topic for topic in app.plan().engine_topics() if topic.endswith("-regrouped")] == [
        "stateful-events-by-group-regrouped"
    ]


def test_a_batch_agent_keeps_the_values_of_a_key_that_stands_in_two_partitions_apart() -> None:
    """Each partition's state is its own: another worker may own it next."""
    app = App("apart")
    events = app.topic("apart-events", str, key=str)
    counts = app.table("counts", int, default=int)

    @app.batch_agent(events, to=app.topic("apart-out", str, key=str))
    def count(batch: Batch[str]) -> Sequence[None]:  # pyright: ignore[reportUnusedFunction]
        for event in batch:
            counts.update(event, lambda number: number + 1)
        return [None] * len(batch)

    with Harness(app, partitions=2) as harness:
        with harness.together():
            for partition in (0, 1, 0, 1, 0):
                harness.send(events, "k", partition=partition)
        found = {(it.partition(), (it.value() or b"")[-1:]) for it in harness.read_bytes("apart-counts-changelog")}
        assert found == {(0, b"3"), (1, b"2")}
        assert harness.dead_letters() == []
