"""Events that once stopped the app, or spoilt what came after them: each costs itself and nothing else."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from streamserve import App, Batch, Stream, Topic, Window, aggregates, hopping, session, tumbling
from streamserve.dataflow.planning.nodes import Ordering
from streamserve.errors import ConfigurationError, PlanError, TopicError, TransactionAborted
from streamserve.observer import Observer
from streamserve.testing import DeadLetter, Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)


class Visit(msgspec.Struct, frozen=True):
    user: str
    at: datetime
    value: Any = 1


class Result(msgspec.Struct, frozen=True):
    user: str
    start: datetime
    end: datetime
    value: float | None


class Seen(msgspec.Struct, frozen=True):
    user: str
    value: float | None


class Counts(Observer):
    """Adds up what was dead-lettered or skipped, and how often the engine started anew."""

    def __init__(self) -> None:
        self.seen: dict[tuple[str, str, str], int] = {}
        self.restarts = 0

    def aborted(self, reason: str, message: str) -> None:
        del reason, message
        self.restarts += 1

    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        del message
        self._add("dead", step, reason, records)

    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        del message
        self._add("skipped", step, reason, records)

    def _add(self, kind: str, step: str, reason: str, records: int) -> None:
        self.seen[kind, step, reason] = self.seen.get((kind, step, reason), 0) + records


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def windowed(
    aggregate: aggregates.Aggregate[Any],
    *,
    window: Any = None,
    emit: Any = "close",
    output: Callable[[Window[Any]], Any] | None = None,
    **topic: Any,
) -> tuple[App, Topic[Visit, str], Topic[Result, str], Topic[Seen, str]]:
    """Return an app with one window, and an agent that tells what events see of it."""
    app = App("poisoned")
    visits = app.topic("visits", Visit, key="user", event_time="at", **topic)
    results = app.topic("results", Result, key="user")
    seen = app.topic("seen", Seen, key="user")
    table = app.aggregate(
        "w", visits, aggregate, window=window or tumbling("10s"), to=results, emit=emit, output=output
    )

    @app.agent(visits, to=seen)
    async def look(stream: Stream[Visit]) -> AsyncIterator[Seen]:  # pyright: ignore[reportUnusedFunction]
        async for visit in stream:
            yield Seen(visit.user, table[visit.user])

    return app, visits, results, seen


def reasons(letters: Sequence[DeadLetter]) -> list[tuple[str, str, str]]:
    return [(letter.step, letter.reason, letter.error) for letter in letters]


# --- events of the far future ---------------------------------------------------------------------------------------

EVENTS = [
    Visit("a", at(1)),
    Visit("a", at(40 * 365 * 86_400)),
    Visit("a", at(2)),
    Visit("b", at(3)),
    Visit("b", at(30)),
]


@pytest.mark.parametrize("lateness", ["0s", "5s"])
@pytest.mark.parametrize("fault", [None, "crash", "abort"])
def test_an_event_of_the_far_future_is_a_dead_letter_and_moves_no_time_on(lateness: str, fault: Fault | None) -> None:
    counts = Counts()
    app, visits, results, _ = windowed(aggregates.count(), max_out_of_orderness=lateness, max_future="1h")
    with Harness(app, observer=counts) as harness:
        if fault is not None:
            harness.fault(fault)
        harness.send(visits, *EVENTS)
        harness.advance("1h")
        assert reasons(harness.dead_letters()) == [("late:visits", "future", "FutureRecord")]
        assert harness.dead_letters()[0].source.offset == 1
        closed = {(record.value.user, record.value.value) for record in harness.read(results)}
    assert {("a", 2.0), ("b", 1.0)} <= closed
    assert counts.seen == {("dead", "late:visits", "future"): 1}


def test_without_a_limit_such_an_event_makes_all_that_follow_it_late() -> None:
    app, visits, results, _ = windowed(aggregates.count())
    with Harness(app) as harness:
        for event in EVENTS:
            harness.send(visits, event)
        assert [(record.value.user, record.value.value) for record in harness.read(results)] == [("a", 1.0)]


@pytest.mark.parametrize("late", ["drop", "side"])
def test_an_event_of_the_future_goes_where_late_ones_go(late: str) -> None:
    counts = Counts()
    app = App("aside")
    side = app.topic("side", Visit, key="user")
    visits = app.topic(
        "visits", Visit, key="user", event_time="at", max_future="1h", late=side if late == "side" else "drop"
    )
    taken: list[datetime] = []

    @app.agent(visits)
    async def take(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for visit in stream:
            taken.extend([visit.at])

    with Harness(app, observer=counts) as harness:
        harness.send(visits, Visit("a", at(1)), Visit("a", at(3_602)), Visit("a", at(3_600)))
        assert taken == [at(1), at(3_600)]
        assert [record.value.at for record in harness.read(side)] == ([at(3_602)] if late == "side" else [])
        assert harness.dead_letters() == []
    assert counts.seen == ({} if late == "side" else {("skipped", "late:visits", "future"): 1})


def test_the_future_is_held_against_the_record_s_own_timestamp() -> None:
    """Old events may be replayed at any time, and the same record is judged in the same way whenever it is read."""
    app, visits, _, seen = windowed(aggregates.count(), max_future="1m")
    with Harness(app, now=at(86_400)) as harness:
        harness.send(visits, Visit("old", at(0)))
        harness.send(visits, Visit("a", at(61)), timestamp=at(1))
        harness.send(visits, Visit("b", at(62)), timestamp=at(1))
        assert [record.value.user for record in harness.read(seen)] == ["old", "a"]
        assert [letter.key for letter in harness.dead_letters()] == [b"b"]


def test_a_limit_of_the_future_without_an_event_time_is_refused() -> None:
    with pytest.raises(PlanError, match="name the event_time"):
        App("x").topic("t", Visit, key="user", max_future="1h")


# --- windows --------------------------------------------------------------------------------------------------------


def add(state: int, visit: Visit, _time_ms: int) -> int:
    if visit.value == "raise":
        raise ValueError(visit.value)
    return state + visit.value


def total(result: Callable[[int], float] = float) -> aggregates.Aggregate[float]:
    return aggregates.custom("total", state=int, initial=int, add=add, merge=int.__add__, result=result)


WINDOWS = [tumbling("10s"), hopping("20s", step="10s"), session("10s")]
POISON: list[tuple[aggregates.Aggregate[Any], Any, str, str]] = [
    (total(), "raise", "agent", "ValueError"),
    (total(), "text", "agent", "TypeError"),
    (total(), 0.5, "agent", "ValidationError"),
    (aggregates.sum("value"), "text", "window", "WindowError"),
    (aggregates.max("value"), ["list"], "window", "WindowError"),
    (aggregates.mean(lambda visit: visit.value["x"]), 3, "agent", "TypeError"),
]


@pytest.mark.parametrize("emit", ["close", "change"])
@pytest.mark.parametrize("window", WINDOWS, ids=lambda window: window.kind)
@pytest.mark.parametrize(("aggregate", "poison", "reason", "error"), POISON)
def test_an_event_that_a_window_cannot_count_leaves_it_as_if_it_had_not_been(
    aggregate: aggregates.Aggregate[Any], poison: Any, reason: str, error: str, window: Any, emit: str
) -> None:
    good = {"x": 2} if aggregate.kind == "mean" else 2
    events = [
        Visit("a", at(1), good),
        Visit("a", at(2), poison),
        Visit("b", at(3), poison),
        Visit("b", at(4), good),
        Visit("a", at(25), poison),
        Visit("a", at(26), good),
        Visit("a", at(90), good),
    ]
    counts = Counts()
    app, visits, results, _ = windowed(aggregate, window=window, emit=emit)
    with Harness(app, observer=counts) as harness:
        harness.send(visits, *events)
        letters = harness.dead_letters()
        assert [letter.source.offset for letter in letters] == [1, 2, 4]
        assert set(reasons(letters)) == {("w", reason, error)}
        found = [record.value for record in harness.read(results)], harness.changelog("poisoned-w-changelog")
    assert counts.seen == {("dead", "w", reason): 3}
    app, visits, results, _ = windowed(aggregate, window=window, emit=emit)
    with Harness(app) as clean:
        clean.send(visits, *[event for event in events if event.value == good])
        assert found == ([record.value for record in clean.read(results)], clean.changelog("poisoned-w-changelog"))


class Share(Visit, frozen=True):
    @property
    def share(self) -> float:
        return 6 / self.value


@pytest.mark.parametrize("asks", ["aggregate", "by", "features"])
def test_a_property_that_raises_costs_its_event_whoever_asks_for_it(asks: str) -> None:
    app = App("shares")
    shares = app.topic("shares", Share, key="user", event_time="at")
    seen = app.topic("seen", Seen, key="user")
    window = tumbling("1m")
    if asks == "aggregate":
        table: Any = app.aggregate("w", shares, aggregates.sum("share"), window=window)
    else:
        table = app.aggregate("w", shares, aggregates.sum("value"), window=window, by="share" if asks == "by" else ())
    features = app.features("six", event=Share, entity_row={"value": "share"})

    @app.agent(shares, to=seen)
    async def read(stream: Stream[Share]) -> AsyncIterator[Seen]:  # pyright: ignore[reportUnusedFunction]
        async for share in stream:
            row: Any = await features.get(share) if asks == "features" else ()
            yield Seen(share.user, len(row) or table[share.user])

    with Harness(app, features={"six": lambda keys: {"six": keys["value"]}}) as harness:
        harness.send(shares, *(Share("a", at(n), value) for n, value in enumerate((2, 0, 2))))
        assert [letter.source.offset for letter in harness.dead_letters()] == [1]
        assert [record.value.value for record in harness.read(seen)] == {
            "aggregate": [3, 3, 6],
            "by": [2, None, 4],
            "features": [1, 1],
        }[asks]


def refusing(window: Window[Any]) -> Result:
    if window.keys == ("bad",):
        raise KeyError(window.key)
    value: Any = object() if window.keys == ("odd",) else window.value
    return Result(window.keys[0], window.start, window.end, value)


@pytest.mark.parametrize("emit", ["close", "change"])
@pytest.mark.parametrize("fault", [None, "crash", "abort"])
def test_a_result_that_cannot_be_written_names_its_window_and_key_and_the_others_are_written(
    emit: str, fault: Fault | None
) -> None:
    counts = Counts()
    app, visits, results, _ = windowed(aggregates.count(), emit=emit, output=refusing)
    with Harness(app, observer=counts) as harness:
        if fault is not None:
            harness.fault(fault)
        harness.send(visits, *[Visit(user, at(1)) for user in ("ann", "bad", "odd", "zoe")])
        harness.send(visits, Visit("ann", at(11)))
        written = [record.value.user for record in harness.read(results)]
        assert written[:2] == ["ann", "zoe"]
        letters = harness.dead_letters()
        assert [(letter.key, letter.reason, letter.error) for letter in letters] == [
            (b"bad", "window", "KeyError"),
            (b"odd", "encode", "EncodeError"),
        ]
        headers = dict(harness.read_bytes("poisoned-dead-letters")[0].headers() or ())
    start_ms = int(START.timestamp() * 1000)
    assert (headers["window"], headers["window-start"], headers["window-end"]) == (
        b"w",
        b"%d" % start_ms,
        b"%d" % (start_ms + 10_000),
    )
    assert counts.seen == {("dead", "w", "window"): 1, ("dead", "w", "encode"): 1}


@pytest.mark.parametrize("emit", ["close", "change"])
@pytest.mark.parametrize("fault", [None, "crash", "abort"])
def test_a_result_that_its_topic_finds_too_large_is_lost_and_the_others_are_written(
    emit: Any, fault: Fault | None
) -> None:
    counts = Counts()
    app = App("swelling")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    results = app.topic("results", Visit, key="user")

    def swell(window: Window[float]) -> Visit:
        return Visit(window.keys[0], window.start, "x" * int(700_000 * window.value))

    app.aggregate("w", visits, aggregates.count(), window=tumbling("10s"), to=results, emit=emit, output=swell)
    with Harness(app, observer=counts) as harness:
        if fault is not None:
            harness.fault(fault)
        harness.send(visits, *[Visit(user, at(1)) for user in ("ann", "bad", "bad", "zoe")])
        restarts = counts.restarts
        harness.send(visits, Visit("bad", at(2)))
        assert emit == "close" or counts.restarts == restarts, "what is larger still is not tried"
        harness.send(visits, Visit("ann", at(11)))
        written = [(record.value.user, len(record.value.value)) for record in harness.read(results)]
        once = [(user, 700_000) for user in ("ann", "bad", "zoe")]
        assert written[: 3 if emit == "change" else 2] == (once if emit == "change" else [once[0], once[2]])
        letters = harness.dead_letters()
        headers = dict(harness.read_bytes("swelling-dead-letters")[0].headers() or ())
    assert {(letter.step, letter.key, letter.reason, letter.error) for letter in letters} == {
        ("w", b"bad", "oversize", "OversizeError")
    }
    assert "'w': the broker refuses a result of" in letters[0].message
    assert "for topic 'results': raise max.message.bytes" in letters[0].message
    assert (headers["window"], headers["window-end"]) == (b"w", b"%d" % int(at(10).timestamp() * 1000))
    assert counts.seen == {("dead", "w", "oversize"): 2 if emit == "change" else 1}


def test_a_function_that_raises_at_the_close_costs_that_result() -> None:
    calls: list[int] = []

    def result(state: int) -> float:
        calls.append(state)
        if state == 3 and calls.count(3) > 1:  # seen once by its event, then at the close
            raise ZeroDivisionError
        return float(state)

    app, visits, results, _ = windowed(total(result))
    with Harness(app) as harness:
        harness.send(visits, Visit("a", at(1), 3), Visit("b", at(2), 4), Visit("c", at(12), 5))
        assert [(record.value.user, record.value.value) for record in harness.read(results)] == [("b", 4.0)]
        (letter,) = harness.dead_letters()
        assert (letter.key, letter.step, letter.reason, letter.error) == (b"a", "w", "agent", "ZeroDivisionError")
        assert letter.source.offset == -1


@pytest.mark.parametrize(("field", "by"), [("valeu", ()), ("value", "shop"), ("valeu.x", "user")])
def test_a_field_that_no_event_has_is_found_when_the_window_is_declared(field: str, by: Any) -> None:
    app = App("typo")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    with pytest.raises(PlanError, match=r"window 'w': events of topic 'visits' have no field '(valeu|shop)"):
        app.aggregate("w", visits, aggregates.sum(field), window=tumbling("10s"), by=by)


# --- tables ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("store", ["memory", "disk"])
@pytest.mark.parametrize("batched", [False, True])
def test_a_value_that_is_too_large_for_the_changelog_costs_its_event(store: Any, batched: bool) -> None:
    if store == "disk":
        pytest.importorskip("rocksdict")
    counts = Counts()
    app = App("large")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    table = app.table("texts", str, store=store)
    nothing = app.topic("nothing", Seen, key="user")

    def write(visit: Visit) -> None:
        table[visit.user] = "before"
        table[visit.user] = "x" * visit.value

    async def take(stream: Stream[Visit]) -> None:
        async for visit in stream:
            write(visit)

    def take_all(batch: Batch[Visit]) -> list[None]:
        return [write(visit) for visit in batch]

    if batched:
        app.batch_agent(visits, to=nothing, tables=[table], name="take")(take_all)
    else:
        app.agent(visits, tables=[table])(take)
    most = 12 * 1024 * 1024 - 1024 - 2
    with Harness(app, observer=counts) as harness:
        harness.send(visits, Visit("a", at(1), 3), Visit("a", at(2), most + 1), Visit("b", at(3), 2))
        assert harness.table(table) == {"a": "xxx", "b": "xx"}
        harness.send(visits, Visit("c", at(4), most))
        assert len(harness.table(table)["c"]) == most
        assert reasons(harness.dead_letters()) == [("take", "oversize", "OversizeError")]
    assert counts.seen == {("dead", "take", "oversize"): 1}


def test_a_task_that_outlives_its_event_is_told_that_its_writes_would_be_lost() -> None:
    app = App("outlived")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    table = app.table("last", int)
    tasks: list[asyncio.Task[None]] = []
    event_is_done = asyncio.Event()

    @app.agent(visits, io=True, tables=[table])
    async def take(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
        async def later(user: str, value: int) -> None:
            await event_is_done.wait()
            table[user] = value

        async for visit in stream:
            table[visit.user] = 0
            tasks.append(asyncio.create_task(later(visit.user, visit.value)))
            if visit.user == "b":
                event_is_done.set()
                await asyncio.sleep(0.01)

    said = r"agent 'take': a task .* uses table 'last' after the event is done.*await it before asking for the next"
    with pytest.raises(ConfigurationError, match=said), Harness(app) as harness:
        harness.send(visits, Visit("a", at(1)), Visit("b", at(2)))
    assert isinstance(tasks[0].exception(), ConfigurationError)


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("ordering", ["key", "unordered"])
def test_a_task_that_outlives_its_event_does_not_send_for_another(ordering: Ordering, apart: bool) -> None:
    app = App("outlived")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    notes = app.topic("notes", Visit, key="user")
    tasks: list[asyncio.Task[None]] = []
    event_is_done = asyncio.Event()

    @app.agent(visits, io=True, ordering=ordering)
    async def take(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
        async def note(visit: Visit, when: asyncio.Event) -> None:
            await when.wait()
            await notes.send(visit)

        async for visit in stream:
            await asyncio.create_task(note(visit, ready))
            tasks.append(asyncio.create_task(note(visit, event_is_done)))
            if visit.value == 2:
                event_is_done.set()
                await asyncio.sleep(0.01)

    ready = asyncio.Event()
    ready.set()
    first, second = Visit("a", at(1)), Visit("a", at(2), 2)

    def run() -> None:
        with Harness(app) as harness:
            if apart:
                harness.send(visits, first)
                assert [record.value for record in harness.read(notes)] == [first], "one that is awaited may send"
            harness.send(visits, *((second,) if apart else (first, second)))

    said = r"agent 'take': a task .* sends to topic 'notes' after the event is done.*await it before asking"
    with pytest.raises(ConfigurationError, match=said):
        run()
    assert isinstance(tasks[0].exception(), ConfigurationError)


def test_a_task_that_outlives_its_event_does_not_send_for_a_timer() -> None:
    app = App("outlived")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    notes = app.topic("notes", Visit, key="user")
    minute = asyncio.Event()

    @app.agent(visits, io=True)
    async def take(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
        async def note(visit: Visit) -> None:
            await minute.wait()
            await notes.send(visit)

        async for visit in stream:
            tasks[visit.user] = asyncio.create_task(note(visit))

    @app.timer("1m")
    async def tick() -> None:  # pyright: ignore[reportUnusedFunction]
        minute.set()
        await asyncio.sleep(0.01)

    def run() -> None:
        with Harness(app) as harness:
            harness.send(visits, Visit("a", at(1)))
            harness.advance("1m")

    tasks: dict[str, asyncio.Task[None]] = {}
    with pytest.raises(ConfigurationError, match=r"agent 'take': a task .* sends to topic 'notes' after the event"):
        run()
    assert isinstance(tasks["a"].exception(), ConfigurationError)


def test_a_task_whose_event_comes_again_after_a_restart_sends_nothing() -> None:
    app = App("again")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    notes = app.topic("notes", Visit, key="user")
    tasks: list[asyncio.Task[None]] = []
    comes_again = asyncio.Event()

    @app.agent(visits, io=True)
    async def take(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
        async def note(visit: Visit) -> None:
            await comes_again.wait()
            await notes.send(visit)

        async for visit in stream:
            if visit.user == "fails":
                await asyncio.sleep(0)
                if len(tasks) == 1:
                    raise TransactionAborted("of the first incarnation")
                comes_again.set()
                continue
            tasks.append(asyncio.create_task(note(visit)))
            await asyncio.sleep(0 if len(tasks) > 1 else 60)
            await tasks[-1]

    waits = Visit("waits", at(1))
    with Harness(app) as harness:
        harness.send(visits, waits, Visit("fails", at(2)))
        assert [record.value for record in harness.read(notes)] == [waits]
    assert [task.cancelled() for task in tasks] == [True, False]


@pytest.mark.parametrize("does", ["send", "table"])
def test_what_an_event_that_failed_has_left_running_stops_nothing(does: str) -> None:
    app = App("orphans")
    visits = app.topic("visits", Visit, key="user", event_time="at")
    users = app.topic("users", str, key=lambda user: user)
    table = app.table("last", int)

    @app.agent(visits, io=True, tables=[table])
    async def take(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
        async def keep(visit: Visit) -> None:
            await asyncio.sleep(0.005)
            if does == "send":
                await users.send(visit.user)
            else:
                table[visit.user] = 1

        async def judge(visit: Visit) -> None:
            if visit.user == "b":
                raise ValueError("b")

        async for visit in stream:
            await asyncio.gather(keep(visit), judge(visit))

    with Harness(app) as harness:
        harness.send(visits, *(Visit(user, at(n)) for n, user in enumerate("abc")))
        harness.send(visits, Visit("d", at(4)))
        assert reasons(harness.dead_letters()) == [("take", "agent", "ValueError")]
        seen = harness.table(table) if does == "table" else [record.value for record in harness.read(users)]
    assert sorted(seen) == ["a", "c", "d"]


# --- regrouping -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("partitions", "fits"), [(280, True), (900, False)])
def test_a_topic_of_more_partitions_than_an_offset_s_metadata_can_tell_of_is_refused_at_the_start(
    partitions: int, fits: bool
) -> None:
    app = App("crowded")
    visits = app.topic("visits", Visit, key="user", event_time="at")

    @app.agent(visits.group_by("value"))
    async def take(stream: Stream[Visit]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for _ in stream:
            pass

    def run() -> None:
        with Harness(app, partitions=partitions) as harness:
            harness.send(visits, Visit("a", at(1), "x"))

    if fits:
        run()
        return
    said = r"topic 'visits' has 900 partitions, but can be regrouped from at most \d+:.*offset\.metadata\.max\.bytes"
    with pytest.raises(TopicError, match=said):
        run()
