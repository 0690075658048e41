"""What an app has to live through: records, times, keys and restarts that nobody wishes for."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module attribute
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve import App, Batch, Reject, Stream, Topic, aggregates, tumbling
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)
FAULTS: tuple[Fault | None, ...] = (None, "crash", "abort", "fence", "rebalance")


class Event(msgspec.Struct, frozen=True):
    n: float
    user: str = "u"
    at: datetime = START


class Total(msgspec.Struct, frozen=True):
    user: str
    end: datetime
    value: float


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def app_with_topics(**more: Any) -> tuple[App, Topic[Event, str], Topic[Event, str]]:
    app = App("adversarial")
    return app, app.topic("events", Event, key="user", event_time="at", **more), app.topic("out", Event, key="user")


async def echo(stream: Stream[Event]) -> AsyncIterator[Event]:
    async for event in stream:
        yield event


def summed(app: App, events: Topic[Event, str], **more: Any) -> Topic[Total, str]:
    totals = app.topic("totals", Total, key="user")
    app.aggregate("spent", events, aggregates.sum("n"), window=tumbling("10s"), to=totals, **more)
    return totals


@pytest.mark.parametrize("lateness", ["0s", "5s"])
def test_the_first_record_of_a_partition_may_be_broken(lateness: str) -> None:
    app, events, out = app_with_topics(max_out_of_orderness=lateness, late="drop")
    summed(app, events)
    app.agent(events, to=out)(echo)
    with Harness(app) as harness:
        harness.send_bytes(events, b"{", key=b"u")
        harness.send(events, Event(1))
        harness.advance("1m")
        assert len(harness.dead_letters()) == 1
        assert [record.value.n for record in harness.read(out)] == [1]


def test_a_topic_that_falls_silent_does_not_hold_back_the_windows_of_another() -> None:
    app, events, out = app_with_topics()
    others = app.topic("others", Event, key="user", event_time="at")
    totals = summed(app, events)
    app.agent(events, others, to=out)(echo)
    with Harness(app) as harness:
        with harness.together():
            harness.send(others, Event(0, at=at(1)))
            harness.send(events, Event(1, at=at(2)))
        harness.advance("1h")
        for seconds in (30, 60, 90):
            harness.send(events, Event(1, at=at(seconds)))
            harness.advance("1h")
        ends = [record.value.end for record in harness.read(totals)]
    assert ends == [at(10), at(40), at(70)]


@pytest.mark.parametrize("emit", ["close", "change"])
def test_a_date_at_the_end_of_time_does_not_stop_the_app(emit: Any) -> None:
    app, events, out = app_with_topics()
    summed(app, events, emit=emit)
    app.agent(events, to=out)(echo)
    with Harness(app) as harness:
        harness.send(events, Event(1, at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)))
        harness.send(events, Event(2, at=datetime(1, 1, 1, tzinfo=UTC)))
        assert len(harness.read(out)) == 2


def test_a_time_beyond_all_times_is_refused_rather_than_waited_for() -> None:
    app = App("adversarial")
    events = app.topic("events", int, key=str, event_time=lambda value: cast("datetime", value))
    others, out = app.topic("others", int, key=str), app.topic("out", int, key=str)

    @app.agent(events, others, to=out)
    async def same(stream: Stream[int]) -> AsyncIterator[int]:  # pyright: ignore[reportUnusedFunction]
        async for value in stream:
            yield value

    with Harness(app) as harness:
        harness.send(events, 1, 2**63 - 1, 2)
        harness.advance("1m")
        assert [record.value for record in harness.read(out)] == [1, 2]
        assert [letter.source.offset for letter in harness.dead_letters()] == [1]


def test_a_key_with_the_separator_in_it_does_not_stop_the_app() -> None:
    app, events, out = app_with_topics()
    totals = app.topic("totals", Total, key="user")
    app.aggregate(
        "spent",
        events,
        aggregates.sum("n"),
        window=tumbling("10s"),
        by="n",
        to=totals,
        output=lambda window: Total(window.keys[0], window.end, window.value or 0),
    )
    app.agent(events, to=out)(echo)
    with Harness(app) as harness:
        harness.send(events, Event(1, "a\x1fb"))
        harness.send(events, Event(1, at=at(60)))
        assert [record.value.user for record in harness.read(totals)] == ["a\x1fb"]


@pytest.mark.parametrize("emit", ["close", "change"])
def test_an_event_that_an_aggregates_function_refuses_becomes_a_dead_letter(emit: Any) -> None:
    app, events, out = app_with_topics()
    totals = app.topic("totals", Total, key="user")
    inverse = aggregates.sum(lambda event: 1 / event.n)
    app.aggregate("inverses", events, inverse, window=tumbling("10s"), to=totals, emit=emit)
    app.agent(events, to=out)(echo)
    with Harness(app) as harness:
        harness.send(events, Event(1), Event(0), Event(2))
        harness.send(events, Event(4, at=at(60)))
        results = [record.value.value for record in harness.read(totals)]
        assert results == ([1.5] if emit == "close" else [1, 1.5, 0.25])
        assert [(letter.step, letter.source.offset) for letter in harness.dead_letters()] == [("inverses", 1)]
        assert len(harness.read(out)) == 4


def test_more_rows_within_the_allowed_lateness_than_are_read_ahead_come_out_all_the_same() -> None:
    app, events, out = app_with_topics(max_out_of_orderness="1h")
    summed(app, events)
    app.agent(events, to=out)(echo)
    with Harness(app) as harness:
        with harness.together():
            for _ in range(25):
                harness.send(events, *[Event(1)] * 1_000)
            harness.send(events, *[Event(1, at=at(7200 + n)) for n in range(3)])
        assert len(harness.read(out)) == 25_000


@pytest.mark.parametrize("fault", FAULTS)
def test_an_event_of_a_batch_that_becomes_a_dead_letter_leaves_nothing_in_tables(fault: Fault | None) -> None:
    app, events, out = app_with_topics()
    seen = app.table("seen", int, default=int)

    @app.batch_agent(events, to=out)
    def count(batch: Batch[Event]) -> Sequence[Any]:  # pyright: ignore[reportUnusedFunction]
        made: list[Any] = []
        for event in batch:
            seen.update(event.user, lambda number: number + 1)
            made.append({-1: "no event", -2: Reject("no")}.get(int(event.n), event))
        return made

    with Harness(app) as harness:
        if fault is not None:
            harness.fault(fault)
        harness.send(events, Event(1, "a"), Event(-1, "b"), Event(2, "a"), Event(-2, "a"))
        assert sorted(letter.source.offset for letter in harness.dead_letters()) == [1, 3]
        assert [record.value.n for record in harness.read(out)] == [1, 2]
        assert harness.table(seen) == {"a": 2}


@pytest.mark.parametrize("first", ["10s", "20s"])
@pytest.mark.parametrize("then", ["0s", "5s", "10s", "40s"])
def test_another_lateness_in_the_next_release_takes_every_record_once(first: str, then: str) -> None:
    def release(lateness: str) -> tuple[App, Topic[Event, str], Topic[Event, str]]:
        app, events, out = app_with_topics(max_out_of_orderness=lateness)
        summed(app, events)
        app.agent(events, to=out)(echo)
        return app, events, out

    app, events, out = release(first)
    with Harness(app) as old:
        old.send(events, *(Event(n, at=at(seconds)) for n, seconds in enumerate((100, 40, 92, 95, 84, 115, 108, 96))))
    app, events, out = release(then)
    with Harness(app, after=old) as new:
        new.send(events, Event(8, at=at(1_000)))
        new.advance("1h")
        assert sorted(record.value.n for record in new.read(out)) == [*range(9)]


@pytest.mark.parametrize("io", [False, True])
def test_a_rejected_event_leaves_nothing_but_its_dead_letter(io: bool) -> None:
    app, events, out = app_with_topics()
    seen = app.table("seen", int, default=int)

    @app.agent(events, to=out, io=io)
    async def count(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)
            await out.send(event)
            yield event
            if event.n < 0:
                raise Reject("negative")

    with Harness(app) as harness:
        harness.send(events, Event(1), Event(-1), Event(2))
        assert harness.table(seen) == {"u": 2}
        assert [record.value.n for record in harness.read(out)] == [1, 2, 1, 2]
        assert len(harness.dead_letters()) == 1


def test_a_record_on_which_an_operator_raises_is_found_among_those_that_were_held_back() -> None:
    app, events, out = app_with_topics(max_out_of_orderness="10s")
    summed(app, events)

    @app.dataflow(events, to=out)
    def check(stream: Any) -> Any:  # pyright: ignore[reportUnusedFunction]
        return op.map("inverse", stream, lambda record: Event(1 / record.value.n))

    with Harness(app) as harness:
        harness.send(events, *(Event(n, at=at(n)) for n in (2, 1, 0, 4)))
        for _ in range(4):  # as often as the app starts anew, it waits for what may still come
            harness.advance("1m")
        assert [record.value.n for record in harness.read(out)] == [1, 0.5, 0.25]
        assert [letter.source.offset for letter in harness.dead_letters()] == [2]


SENT = st.lists(st.tuples(st.integers(0, 100), st.sampled_from("xyz")), min_size=1, max_size=5)
STEPS = st.one_of(
    st.tuples(st.sampled_from(["left", "right"]), SENT),
    st.tuples(st.just("broken"), st.sampled_from(["left", "right"])),
    st.tuples(st.just("fault"), st.sampled_from(FAULTS[1:])),
    st.tuples(st.just("advance"), st.sampled_from(["1s", "6s", "30s"])),
)


class _Storm:
    """Two topics in one agent, with a table and a window; one of them regrouped for another agent with a table."""

    def __init__(self, *, late: Any, lateness: str, io: bool) -> None:
        self.app = app = App("storm")
        self.topics = {
            "left": app.topic("left", Event, key="user", event_time="at", max_out_of_orderness=lateness, late=late),
            "right": app.topic("right", Event, key="user", event_time="at", max_out_of_orderness="5s"),
        }
        self.out, self.again = app.topic("out", Event, key="user"), app.topic("again", Event, key="user")
        self.tables = app.table("merged", int, default=int), app.table("regrouped", int, default=int)
        merged, regrouped = self.tables
        app.aggregate("counts", self.topics["left"], aggregates.count(), window=tumbling("10s"))
        by_parity = self.topics["left"].key_by(lambda event: str(event.n % 2), name="parity")

        @app.agent(self.topics["left"], self.topics["right"], to=self.out, io=io)
        async def merge(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
            async for event in stream:
                if io:
                    await asyncio.sleep(0)
                merged.update(event.user, lambda number: number + 1)
                yield event
                if event.n % 7 == 3:
                    raise ValueError

        @app.agent(by_parity, to=self.again)
        async def count(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
            async for event in stream:
                regrouped.update(str(event.n % 2), lambda number: number + 1)
                yield event

    def run(self, harness: Harness, steps: Sequence[tuple[str, Any]]) -> dict[float, str]:
        """Do ``steps``, then let everything go; return the topic of each event that was sent."""
        sent: dict[float, str] = {}
        for kind, what in steps:
            if kind == "fault":
                harness.fault(what)
            elif kind == "advance":
                harness.advance(what)
            elif kind == "broken":
                harness.send_bytes(self.topics[what], b"{", key=b"x")
            else:
                events = [Event(len(sent) + place, user, at(seconds)) for place, (seconds, user) in enumerate(what)]
                sent |= dict.fromkeys((event.n for event in events), kind)
                harness.send(self.topics[kind], *events)
        for _ in range(4):
            harness.advance("30s")
        return sent


@settings(max_examples=30, deadline=None)
@given(
    st.lists(STEPS, max_size=14),
    st.sampled_from(["process", "dead-letter"]),
    st.sampled_from(["0s", "10s"]),
    st.booleans(),
    st.sampled_from([1, 3]),
)
def test_every_record_has_one_outcome_whatever_happens(
    steps: list[tuple[str, Any]], late: str, lateness: str, io: bool, partitions: int
) -> None:
    storm = _Storm(late=late, lateness=lateness, io=io)
    with Harness(storm.app, partitions=partitions) as harness:
        sent = storm.run(harness, steps)
        letters = Counter(letter.step.partition(":")[0] for letter in harness.dead_letters())
        out = Counter(record.value.n for record in harness.read(storm.out))
        again = Counter(record.value.n for record in harness.read(storm.again))
        places = [(letter.step, letter.source) for letter in harness.dead_letters()]
        tables = [sum(harness.table(table).values()) for table in storm.tables]
    assert max([*out.values(), *again.values()], default=1) == 1
    assert len(set(places)) == len(places)
    assert letters["decode"] == sum(kind == "broken" for kind, _ in steps)
    assert tables == [len(out), len(again)]
    assert len(out) + letters["merge"] + letters["late"] == len(sent)
    assert len(again) + letters["late"] == list(sent.values()).count("left")
