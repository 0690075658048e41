"""Timers of tables by the worker's clock: they come at their time without any record, once, whatever happens."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import msgspec
import pytest

from streamserve import App, Stream, Table, Topic
from streamserve.errors import ConfigurationError, PlanError
from streamserve.testing import Harness
from streamserve.testing.harness import START, Fault

FAULTS: tuple[Fault, ...] = ("crash", "abort", "fence", "rebalance")
LONG_AGO = datetime(2013, 1, 1, tzinfo=UTC)
"""The events' own time: it has nothing to do with the clock."""


class Event(msgspec.Struct, frozen=True):
    user: str
    n: int = 0
    at: datetime = LONG_AGO


def new_app(ttl: str | None = None) -> tuple[App, Topic[Event, str], Topic[Event, str], Table[str, int]]:
    app = App("alarmed")
    events = app.topic("events", Event, key="user", event_time="at")
    return app, events, app.topic("out", Event, key="user"), app.table("seen", int, default=int, ttl=ttl)


def count_and_wait(app: App, events: Topic[Event, str], seen: Table[str, int]) -> None:
    """Count each user's events; ``n`` says in how many seconds its timer is due, and below 0 that there is none."""

    @app.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)
            if event.n >= 0:
                seen.set_timer(event.user, timedelta(seconds=event.n), clock="processing")
            else:
                seen.delete_timer(event.user, clock="processing")


def tell_counts(seen: Table[str, int], out: Topic[Event, str]) -> None:
    @seen.on_timer(to=out, clock="processing")
    async def tell(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user, seen[user])
        del seen[user]


def told(harness: Harness, out: Topic[Event, str]) -> list[tuple[str | None, int]]:
    return [(record.key, record.value.n) for record in harness.read(out)]


def seconds(harness: Harness, out: Topic[Event, str]) -> list[float]:
    """Return when each output was written, in seconds since the harness's start."""
    return [(record.timestamp - START).total_seconds() for record in harness.read(out)]


@pytest.mark.parametrize("fault", [None, *FAULTS])
@pytest.mark.parametrize("strikes", ["the setting", "the firing"])
def test_a_timer_runs_once_at_its_time_while_no_record_comes(fault: Fault | None, strikes: str) -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)
    tell_counts(seen, out)
    with Harness(app) as harness:
        if fault is not None and strikes == "the setting":
            harness.fault(fault)
        harness.send(events, Event("a", 30), Event("b", 10), Event("a", 30))
        assert len(harness.changelog("alarmed-seen-changelog")) == 4, "two values and two timers"
        harness.advance("9s")
        assert told(harness, out) == []
        if fault is not None and strikes == "the firing":
            harness.fault(fault)
        harness.advance("1h")
        assert told(harness, out) == [("b", 1), ("a", 2)]
        assert seconds(harness, out) == [10, 30]
        assert harness.table(seen) == {}
        assert harness.changelog("alarmed-seen-changelog") == {}, "the timers are over with what they did"
        harness.advance("1h")
        assert len(told(harness, out)) == 2


def test_timers_of_all_partitions_run_with_their_owner() -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)
    tell_counts(seen, out)
    users = [f"user{number}" for number in range(20)]
    with Harness(app, partitions=3) as harness:
        harness.send(events, *(Event(user, 20) for user in users))
        assert {record.partition for record in harness.read(events)} == {0, 1, 2}
        harness.fault("rebalance")
        harness.send(events, Event("another", 60))
        harness.advance("20s")
        assert sorted(told(harness, out)) == sorted((user, 1) for user in users)


def test_a_timer_that_was_due_while_no_worker_ran_runs_once_after_the_restart() -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)
    tell_counts(seen, out)
    with Harness(app) as harness:
        harness.send(events, Event("a", 60), Event("b", 7200))
    clock, _ = harness.kafka
    clock.advance(3600)
    with Harness(app, after=harness) as again:
        again.advance("1ms")
        assert told(again, out) == [("a", 1)]
        assert [round(at) for at in seconds(again, out)] == [3600], "late, and once, not once for each minute"
        again.advance("2h")
        assert told(again, out) == [("a", 1), ("b", 1)]
        assert round(seconds(again, out)[1]) == 7200, "one that was not due yet keeps its time"
    with Harness(app, after=again) as at_last:
        at_last.advance("1h")
        assert len(told(at_last, out)) == 2


def test_a_timer_can_be_moved_and_taken_back_and_outlives_its_value() -> None:
    app, events, out, seen = new_app(ttl="1m")
    count_and_wait(app, events, seen)
    tell_counts(seen, out)
    late = LONG_AGO + timedelta(days=1)
    with Harness(app) as harness:
        harness.send(events, Event("moved", 10), Event("back", 10), Event("expires", 30))
        harness.advance("5s")
        harness.send(events, Event("moved", 10), Event("back", -1))
        harness.advance("5s")
        assert told(harness, out) == []
        harness.advance("5s")
        assert told(harness, out) == [("moved", 2)]
        harness.send(events, Event("late", 3600, at=late))
        assert harness.table(seen) == {"late": 1}, "the others have expired"
        harness.advance("1m")
        assert told(harness, out) == [("moved", 2), ("expires", 0)]


def test_what_a_timer_writes_lives_as_long_as_what_an_event_at_the_watermark_writes() -> None:
    app, events, _, seen = new_app(ttl="1m")
    count_and_wait(app, events, seen)

    @seen.on_timer(clock="processing")
    async def again(user: str) -> None:  # pyright: ignore[reportUnusedFunction]
        seen[user] = 100

    with Harness(app) as harness:
        harness.send(events, Event("a", 10), Event("b", -1, LONG_AGO + timedelta(seconds=50)))
        harness.advance("10s")
        harness.send(events, Event("c", -1, LONG_AGO + timedelta(seconds=80)))
        assert harness.table(seen)["a"] == 100, "as of the fiftieth second, not of the event that set it"
        harness.send(events, Event("c", -1, LONG_AGO + timedelta(seconds=120)))
        assert "a" not in harness.table(seen), "nor of this year's clock"


def test_a_timer_sees_the_values_of_the_events_while_a_merged_topic_has_not_spoken() -> None:
    app, events, out, seen = new_app(ttl="1m")
    silent = app.topic("silent", Event, key="user", event_time="at")
    tell_counts(seen, out)

    @app.agent(events, silent)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)
            seen.set_timer(event.user, "1s", clock="processing")

    with Harness(app) as harness:
        harness.send(events, Event("a"))
        harness.advance("1s")
        assert told(harness, out) == [("a", 1)], "not as of the clock, which would be years later"


@pytest.mark.parametrize("at", [datetime(2001, 1, 1, tzinfo=UTC), "0s"])
def test_a_timer_of_the_past_runs_after_its_batch(at: datetime | str) -> None:
    app, events, out, seen = new_app()
    tell_counts(seen, out)

    @app.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)
            seen.set_timer(event.user, at, clock="processing")

    with Harness(app) as harness:
        harness.send(events, Event("a"), Event("b"), Event("a"))
        assert told(harness, out) in ([("a", 2), ("b", 1)], [("b", 1), ("a", 2)])


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_key_may_have_a_timer_of_each_clock_and_both_set_each_other(fault: Fault | None) -> None:
    app, events, out, seen = new_app()

    @app.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            if event.n == 0:
                seen.set_timer(event.user, "10s")
                seen.set_timer(event.user, "1h", clock="processing")

    @seen.on_timer(to=out)
    async def by_event_time(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user, seen.update(user, lambda number: number + 1))
        if seen[user] < 4:
            seen.set_timer(user, "1m", clock="processing")

    @seen.on_timer(to=out, clock="processing")
    async def by_the_clock(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user, 10 * seen.update(user, lambda number: number + 1))
        seen.set_timer(user, LONG_AGO)

    with Harness(app) as harness:
        harness.send(events, Event("a"))
        harness.advance("30m")
        assert told(harness, out) == []
        if fault is not None:
            harness.fault(fault)
        harness.send(events, Event("b", 1, LONG_AGO + timedelta(seconds=20)))
        assert told(harness, out) == [("a", 1)]
        if fault is not None:
            harness.fault(fault)
        harness.advance("2m")
        assert told(harness, out) == [("a", 1), ("a", 20), ("a", 3), ("a", 40), ("a", 5)]
        assert seconds(harness, out)[1:] == [1860, 1860, 1920, 1920]
        harness.advance("3h")
        assert len(told(harness, out)) == 5, "the first timer of an hour was replaced"


def test_a_heartbeat_keeps_its_pace() -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)

    @seen.on_timer(clock="processing")
    async def beat(user: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await out.send(Event(user, seen.update(user, lambda number: number + 1)))
        seen.set_timer(user, "10s", clock="processing")

    with Harness(app) as harness:
        harness.send(events, Event("a", 10))
        for _ in range(5):
            harness.advance("9s")
        assert seconds(harness, out) == [10, 20, 30, 40]


@pytest.mark.parametrize("fault", [None, *FAULTS])
@pytest.mark.parametrize("store", ["memory", "disk"])
def test_a_timer_that_fails_costs_its_key_one_dead_letter_and_no_other_key_anything(
    fault: Fault | None, store: str
) -> None:
    app = App("alarmed")
    events = app.topic("events", Event, key="user", event_time="at")
    out = app.topic("out", Event, key="user")
    seen = app.table("seen", int, default=int, store="disk" if store == "disk" else "memory")
    count_and_wait(app, events, seen)

    @seen.on_timer(to=out, clock="processing")
    async def tell(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user)
        del seen[user]
        if user == "bad":
            raise ValueError("secret")

    with Harness(app) as harness:
        harness.send(events, Event("a", 10), Event("bad", 10), Event("c", 10))
        if fault is not None:
            harness.fault(fault)
        harness.advance("10s")
        assert told(harness, out) == [("a", 0), ("c", 0)]
        assert harness.table(seen) == {"bad": 1}, "as without the timer"
        [letter] = harness.dead_letters()
        assert (letter.step, letter.reason, letter.error) == ("seen-processing-timer", "agent", "ValueError")
        assert (letter.key, letter.value) == (b"bad", None)
        assert "secret" not in letter.message
        [record] = harness.read_bytes("alarmed-dead-letters")
        headers = dict(record.headers() or ())
        assert (headers["table"], headers["table-partition"], headers["timer-clock"]) == (b"seen", b"0", b"processing")
        assert int(headers["timer-time"] or b"") == (START + timedelta(seconds=10)).timestamp() * 1000
        harness.advance("1h")
        assert len(harness.dead_letters()) == 1, "its timer is over"


def test_more_timers_than_a_transaction_can_take_are_taken_bit_by_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("streamserve.state.timers.MOST_DUE_AT_ONCE", 3)
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)
    tell_counts(seen, out)

    @seen.on_timer(to=out)
    async def loud(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user)

    with Harness(app) as harness:
        harness.send(events, *(Event(f"u{number}", number) for number in range(10)))
        harness.kafka[0].advance(60)
        harness.advance("1ms")
        assert [key for key, _ in told(harness, out)] == [f"u{number}" for number in range(10)]


def test_a_timer_of_a_clock_at_which_nothing_runs_is_refused_with_the_decorator_to_write() -> None:
    app, events, _, seen = new_app()
    count_and_wait(app, events, seen)

    @seen.on_timer()
    async def by_event_time(user: str) -> None:  # pyright: ignore[reportUnusedFunction]
        del user

    with pytest.raises(ConfigurationError, match=r"on_timer\(clock='processing'\)"), Harness(app) as harness:
        harness.send(events, Event("a"))


def test_a_table_has_one_function_for_each_clock() -> None:
    _, _, _, seen = new_app()

    async def quiet(user: str) -> None:
        del user

    seen.on_timer()(quiet)
    seen.on_timer(clock="processing")(quiet)
    with pytest.raises(PlanError, match="processing time already"):
        seen.on_timer(clock="processing")(quiet)


def test_timers_that_nothing_runs_at_any_more_stay_where_they_are() -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)
    tell_counts(seen, out)
    with Harness(app) as harness:
        harness.send(events, Event("a", 10))
    without, events, _, seen = new_app()

    @without.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)

    with Harness(without, after=harness) as middle:
        middle.send(events, Event("b"))
        middle.advance("1m")
        assert middle.read(out) == []
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)
    tell_counts(seen, out)
    with Harness(app, after=middle) as again:
        again.advance("1ms")
        assert told(again, out) == [("a", 1)]
