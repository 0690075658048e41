"""Time in tables: values expire and timers come due as the watermark says, whatever happens to the worker."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import cast

import msgspec
import pytest
from typing_extensions import override

from streamserve import App, Reject, Stream, Table, Topic
from streamserve.dataflow.checks import check
from streamserve.dataflow.planning.nodes import OnError
from streamserve.errors import ConfigurationError, PlanError
from streamserve.observer import Observer
from streamserve.settings import Settings
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)
FAULTS: tuple[Fault, ...] = ("crash", "abort", "fence", "rebalance")


class Event(msgspec.Struct, frozen=True):
    user: str
    at: datetime = START
    n: int = 0


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def new_app() -> tuple[App, Topic[Event, str], Topic[Event, str], Table[str, int]]:
    app = App("timed")
    events = app.topic("events", Event, key="user", event_time="at")
    return app, events, app.topic("out", Event, key="user"), app.table("seen", int, default=int)


def count_and_wait(app: App, events: Topic[Event, str], seen: Table[str, int], seconds: float = 10) -> None:
    """Count each user's events, and set its timer ``seconds`` after the last."""

    @app.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)
            seen.set_timer(event.user, event.at + timedelta(seconds=seconds))


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_timer_runs_once_when_the_watermark_reaches_it_and_can_change_its_key(fault: Fault | None) -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)

    @seen.on_timer(to=out)
    async def tell(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user, n=seen[user])
        del seen[user]

    with Harness(app) as harness:
        harness.send(events, Event("a", at(0)), Event("b", at(5)), Event("a", at(6)))
        assert harness.read(out) == []
        if fault is not None:
            harness.fault(fault)
        harness.send(events, Event("c", at(15)))
        assert [record.value.n for record in harness.read(out)] == [1]
        assert harness.table(seen) == {"a": 2, "c": 1}
        if fault is not None:
            harness.fault(fault)
        harness.send(events, Event("c", at(100)))
        assert [(record.key, record.value.n) for record in harness.read(out)] == [("b", 1), ("a", 2)]
        assert harness.table(seen) == {"c": 2}
        assert len(harness.changelog("timed-seen-changelog")) == 2, "a value and its timer"


def test_a_timer_survives_the_worker() -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)

    @seen.on_timer(to=out)
    async def tell(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user, n=seen[user])

    with Harness(app, partitions=3) as harness:
        harness.send(events, Event("a", at(0)), Event("a", at(1)))
    with Harness(app, partitions=3, after=harness) as again:
        again.send(events, Event("a", at(9)))
        again.send(events, Event("a", at(10)))
        assert again.read(out) == []
        again.send(events, Event("b", at(30)), partition=again.read(events)[0].partition)
        assert [(record.key, record.value.n) for record in again.read(out)] == [("a", 4)]


def test_a_timer_can_be_moved_taken_back_and_set_by_a_timer_as_a_heartbeat() -> None:
    app, events, out, seen = new_app()

    @app.agent(events)
    async def act(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.set_timer(event.user, event.at + timedelta(seconds=event.n))
            if event.n < 0:
                seen.delete_timer(event.user)

    @seen.on_timer()
    async def beat(user: str) -> None:  # pyright: ignore[reportUnusedFunction]
        beats = seen.update(user, lambda number: number + 1)
        await out.send(Event(user, n=beats))
        if beats < 3:
            seen.set_timer(user, at(10 + 10 * beats))

    with Harness(app) as harness:
        harness.send(events, Event("a", at(0), 10), Event("b", at(0), 10), Event("b", at(1), -1), Event("c", at(2), 90))
        harness.send(events, Event("d", at(89), 90))
        assert [(record.key, record.value.n) for record in harness.read(out)] == [("a", 1), ("a", 2), ("a", 3)]


def test_timers_run_in_the_order_of_their_times_and_before_the_next_batch() -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)

    @seen.on_timer(to=out)
    async def tell(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user, n=seen[user])

    with Harness(app) as harness:
        with harness.together():
            harness.send(events, Event("z", at(1)), Event("a", at(2)), Event("k", at(0)))
        harness.send(events, Event("end", at(60)))
        harness.send(events, Event("z", at(61)))
        assert [(record.key, record.value.n) for record in harness.read(out)] == [("k", 1), ("z", 1), ("a", 1)]


def test_a_table_that_only_its_timer_uses_lives_beside_it() -> None:
    app, events, _, seen = new_app()
    count_and_wait(app, events, seen)
    totals = app.table("totals", int, default=int)

    @seen.on_timer()
    async def add(user: str) -> None:  # pyright: ignore[reportUnusedFunction]
        totals.update(user, lambda total: total + seen[user])

    with Harness(app) as harness:
        harness.send(events, Event("a", at(0)), Event("a", at(1)), Event("b", at(20)))
        assert harness.table(totals) == {"a": 2}


@pytest.mark.parametrize(
    ("mistake", "error"),
    [
        ("raises", "ValueError"),
        ("rejects", "Reject"),
        ("reaches over", "WrongPartition"),
        ("never ends", "AgentError"),
        ("writes nonsense", "EncodeError"),
        ("sends nonsense", "EncodeError"),
        ("sends elsewhere", "EncodeError"),
        ("stores nonsense", "EncodeError"),
    ],
)
def test_a_timer_that_fails_for_a_key_leaves_its_dead_letter_and_nothing_else(mistake: str, error: str) -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)
    elsewhere = App("other").topic("elsewhere", Event, key="user")
    totals = app.table("totals", int, default=int)

    @seen.on_timer(to=out)
    async def fail(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        await out.send(Event(user, n=1))
        totals.update(user, lambda total: total + 1)
        if user == "good":
            return
        yield Event(user) if mistake != "writes nonsense" else cast("Event", user)
        if mistake == "raises":
            raise ValueError(user)
        if mistake == "rejects":
            raise Reject("no")
        if mistake == "reaches over":
            seen["someone else"] = 1
        if mistake == "never ends":
            seen.set_timer(user, at(0))
        if mistake == "stores nonsense":
            seen[user] = cast("int", "text")
        if mistake == "sends nonsense":
            await out.send(cast("Event", user))
        if mistake == "sends elsewhere":
            await elsewhere.send(Event(user))

    with Harness(app) as harness:
        harness.send(events, Event("secret", at(0)), Event("good", at(1)), Event("b", at(30)))
        assert [record.key for record in harness.read(out)] == ["good"]
        assert harness.table(totals) == {"good": 1}
        [letter] = harness.dead_letters()
        assert (letter.step, letter.error, letter.key, letter.value) == ("seen-timer", error, b"secret", None)
        assert "secret" not in letter.message
        harness.send(events, Event("b", at(60)), Event("c", at(300)))
        assert len(harness.dead_letters()) == 2, "one for each time that it was set"


@pytest.mark.parametrize("policy", ["skip", "stop"])
def test_what_becomes_of_a_key_whose_timer_fails_can_be_said(policy: OnError) -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)

    @seen.on_timer(to=out, on_error=policy)
    async def fail(user: str) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        yield Event(user)
        raise ValueError(user)

    counted = Skipped()
    harness = Harness(app, observer=counted)
    stops = pytest.raises(ConfigurationError, match=r"'seen', partition 0, 2024-01-01T00:00:10\+00:00 of event time")
    with stops if policy == "stop" else nullcontext(), harness:
        harness.send(events, Event("secret", at(0)), Event("b", at(15)))
    assert harness.read(out) == harness.dead_letters() == []
    assert counted.steps == ([] if policy == "stop" else [("seen-timer", "agent", 1)])


class Skipped(Observer):
    def __init__(self) -> None:
        self.steps: list[tuple[str, str, int]] = []

    @override
    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        self.steps.append((step, reason, records))


def test_a_timer_that_asks_what_only_events_may_ask_stops_the_worker_with_what_to_mend() -> None:
    app, events, out, seen = new_app()
    count_and_wait(app, events, seen)
    model = app.model("nothing", inputs=[Event], output=Event)

    @seen.on_timer()
    async def ask(user: str) -> None:  # pyright: ignore[reportUnusedFunction]
        await model.predict(Event(user))

    harness = Harness(app, models={"nothing": lambda row: row})
    with pytest.raises(ConfigurationError, match="a timer has none") as raised, harness:
        harness.send(events, Event("secret", at(0)), Event("b", at(60)))
    assert "secret" not in str(raised.value)
    assert harness.read(out) == []


def test_a_timer_whose_message_the_broker_finds_too_large_is_one_dead_letter() -> None:
    app, events, _, seen = new_app()
    count_and_wait(app, events, seen)
    large = app.topic("large", bytes, key=lambda value: value[:4].decode())

    @seen.on_timer(to=large)
    async def tell(user: str) -> AsyncIterator[bytes]:  # pyright: ignore[reportUnusedFunction]
        yield (user * 4).encode() * (1_000_000 if user == "b" else 1)

    with Harness(app) as harness:
        harness.send(events, Event("a", at(0)), Event("b", at(1)), Event("c", at(2)), Event("end", at(60)))
        assert [record.value for record in harness.read(large)] == [b"aaaa", b"cccc"]
        [letter] = harness.dead_letters()
        assert (letter.step, letter.reason, letter.key) == ("seen-timer", "oversize", b"b")
        assert "max.message.bytes" in letter.message


def test_what_one_topic_refuses_of_a_timer_goes_to_another() -> None:
    app, events, _, seen = new_app()
    count_and_wait(app, events, seen)
    small, large = (app.topic(name, bytes, key=lambda value: value[:1].decode()) for name in ("small", "large"))

    @seen.on_timer(to=large)
    async def tell(user: str) -> AsyncIterator[bytes]:  # pyright: ignore[reportUnusedFunction]
        if seen[user] == 1:
            await small.send(b"x" * 600)
        yield b"x" * 700

    harness = Harness(app)
    _, cluster = harness.kafka
    cluster.topic("small").max_message_bytes = 500
    with harness:
        harness.send(events, Event("a", at(0)), Event("end", at(60)))
        assert harness.read(large) == []
        harness.send(events, Event("a", at(61)), Event("end", at(120)))
        assert len(harness.read(large)) == 1
        assert [letter.reason for letter in harness.dead_letters()] == ["oversize"]


def test_setting_a_timer_that_nothing_runs_at_is_refused() -> None:
    app, events, _, seen = new_app()
    count_and_wait(app, events, seen)
    with pytest.raises(ConfigurationError, match="on_timer"), Harness(app) as harness:
        harness.send(events, Event("a"))


def test_a_timer_is_declared_once_as_what_its_topic_asks_for() -> None:
    app, _, out, seen = new_app()

    async def quiet(user: str) -> None:
        del user

    async def loud(user: str) -> AsyncIterator[Event]:
        yield Event(user)

    with pytest.raises(PlanError, match="yield"):
        seen.on_timer(to=out)(quiet)  # pyright: ignore[reportArgumentType]
    with pytest.raises(PlanError, match="to="):
        seen.on_timer()(loud)  # pyright: ignore[reportArgumentType]
    assert seen.on_timer()(quiet) is quiet
    with pytest.raises(PlanError, match="already"):
        seen.on_timer()(quiet)
    stranger = App("other").topic("elsewhere", Event, key="user")
    app.table("more", int).on_timer(to=stranger)(loud)
    with pytest.raises(PlanError, match="another app"):
        app.plan()


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_values_expire_with_the_watermark_and_are_deleted_from_the_changelog(fault: Fault | None) -> None:
    app = App("timed")
    events = app.topic("events", Event, key="user", event_time="at")
    seen = app.table("seen", int, default=int, ttl="32s")

    @app.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)

    with Harness(app) as harness:
        harness.send(events, Event("a", at(0)), Event("b", at(10)), Event("a", at(20)))
        assert harness.table(seen) == {"a": 2, "b": 1}
        if fault is not None:
            harness.fault(fault)
        harness.send(events, Event("c", at(50)))
        assert harness.table(seen) == {"a": 2, "c": 1}
        harness.send(events, Event("a", at(60)))
        assert harness.table(seen) == {"a": 1, "c": 1}
    with Harness(app, after=harness) as again:
        again.send(events, Event("d", at(200)))
        assert again.table(seen) == {"d": 1}


def test_within_a_batch_an_event_sees_what_is_as_old_as_its_own_time_allows() -> None:
    app = App("timed")
    events = app.topic("events", Event, key="user", event_time="at")
    seen = app.table("seen", int, default=int, ttl="30s")

    @app.agent(events)
    async def count(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda number: number + 1)

    with Harness(app) as harness:
        harness.send(events, Event("a", at(0)))
        harness.send(events, Event("a", at(20)), Event("b", at(100)))
        assert harness.table(seen) == {"a": 2, "b": 1} or harness.table(seen) == {"b": 1}
        harness.send(events, Event("c", at(101)))
        assert harness.table(seen) == {"b": 1, "c": 1}


def test_check_finds_timers_that_nothing_runs_at() -> None:
    app, events, _, seen = new_app()
    count_and_wait(app, events, seen)
    [problem] = check(app.plan(), Settings())
    assert "on_timer" in str(problem)

    @seen.on_timer()
    async def tell(user: str) -> None:  # pyright: ignore[reportUnusedFunction]
        del user

    assert check(app.plan(), Settings()) == []
