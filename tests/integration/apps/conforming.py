"""Apps with state and time, and records for them, that the harness and a real broker are compared on."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import msgspec

from streamserve import App, Batch, Reject, Stream, Topic, Window, aggregates, hopping, session, sliding, tumbling
from streamserve.aggregates import Aggregate
from streamserve.dataflow.planning.plan import LatePolicy
from tests.integration.apps.conforming_events import (
    LATENESS_MS,
    PATIENT,
    START_MS,
    STEP_MS,
    Event,
    Result,
    Total,
    event_of,
    keys_of_each_partition,
    phases_of,
    record_of,
    shuffled,
    ticks,
)
from tests.integration.conformance import Case, Phase
from tests.integration.running import Input


def _widened(state: tuple[float, float], event: Event, _: int) -> tuple[float, float]:
    return min(state[0], event.n), max(state[1], event.n)


_span: Aggregate[float] = aggregates.custom(
    "span",
    state=tuple[float, float],
    initial=lambda: (1e9, -1e9),
    add=_widened,
    merge=lambda one, other: (min(one[0], other[0]), max(one[1], other[1])),
    result=lambda state: state[1] - state[0],
)


def windows(name: str, _: Path) -> Case:
    """Windows of all kinds, written when they close or with every change; an agent reads some of them."""
    app = App(name)
    events = app.topic(
        f"{name}.in", Event, key="user", event_time="at", max_out_of_orderness=f"{LATENESS_MS}ms", late="process"
    )
    out = app.topic(f"{name}.out", Result, key="user")

    def to(window: str) -> Topic[Total, str]:
        return app.topic(f"{name}.{window}", Total, key="key")

    app.aggregate("sum", events, aggregates.sum("value"), window=tumbling("100ms"), to=to("sum"))
    hops = hopping("100ms", step="20ms", grace="30ms")
    app.aggregate("mean", events, aggregates.mean("value"), window=hops, to=to("mean"))
    app.aggregate("visit", events, aggregates.count(), window=session("40ms", grace="1s"), to=to("visit"))
    last = app.aggregate("last", events, aggregates.last("n"), window=tumbling("50ms"), to=to("last"), emit="change")
    app.aggregate(
        "var", events, aggregates.var("value"), window=hopping("90ms", step="30ms"), to=to("var"), emit="change"
    )
    recent = app.aggregate("span", events, _span, window=sliding("80ms"), to=to("span"), emit="change")
    app.aggregate(
        "median", events, aggregates.quantile("value", 0.5), window=session("30ms"), to=to("median"), emit="change"
    )
    groups = app.aggregate(
        "groups", events, aggregates.distinct("group"), window=hopping("1s", step="100ms"), by="group"
    )

    @app.agent(events, to=out)
    async def tell(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.user, event.n, f"{last[event.user]} {recent[event.user]} {groups[event.user]}")

    late = [record_of(event_of(900 + n, at_ms=1_040 + 5 * n)) for n in range(9)]
    return Case(app, phases_of(events.name, 1, more=late), settings=PATIENT)


def joins(name: str, _: Path) -> Case:
    """Streams joined in all ways, with a topic under another key among them, and a stream with a table."""
    app = App(name)
    bound = f"{LATENESS_MS}ms"
    left = app.topic(f"{name}.left", Event, key="user", event_time="at", max_out_of_orderness=bound)
    right = app.topic(f"{name}.right", Event, key="user", event_time="at", max_out_of_orderness=bound)
    out = {kind: app.topic(f"{name}.{kind}", Result, key="user") for kind in ("inner", "left-outer", "outer", "known")}
    known = app.table("known", int)

    @app.agent(left.join(right, within="40ms", name="inner"), to=out["inner"])
    async def inner(stream: Stream[tuple[Event, Event]]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for one, other in stream:
            yield Result(one.user, one.n, str(other.n))

    @app.agent(left.left_join(right, within="20ms", name="left"), to=out["left-outer"])
    async def left_outer(stream: Stream[tuple[Event, Event | None]]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for one, other in stream:
            yield Result(one.user, one.n, str(other and other.n))

    @app.agent(left.outer_join(right, within="20ms", name="outer"), to=out["outer"])
    async def outer(stream: Stream[tuple[Event | None, Event | None]]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            one, other = record.value
            text = f"{one and one.n} {other and other.n} {record.topic} {record.offset}"
            yield Result(str(record.key), 0, text)

    @app.agent(left, right, to=out["known"])
    async def know(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            if record.topic == right.name:
                known[record.value.user] = record.value.n
            else:
                yield Result(record.value.user, record.value.n, str(known.get(record.value.user)))

    others = [record_of(event_of(n, at_ms=n * STEP_MS + 3)) for n in range(0, 230, 3)]
    given = [
        Phase({left.name: phase.given[left.name], right.name: also})
        for phase, also in zip(
            phases_of(left.name, 2),
            (
                [*others[:20], *ticks(2_000, 453)],
                [*others[34:54], *ticks(2_010, 1_153)],
                [*others[67:], *ticks(2_020, 3_003)],
                ticks(2_030, 9_003),
            ),
            strict=True,
        )
    ]
    return Case(app, given, settings=PATIENT, unordered=[out["left-outer"].name, out["outer"].name])


def regrouped(name: str, _: Path) -> Case:
    """Events under other keys than their topic's, in tables and windows, and what is written there regrouped again."""
    app = App(name)
    events = app.topic(f"{name}.in", Event, key="user", event_time="at", max_out_of_orderness=f"{LATENESS_MS}ms")
    out, again = (app.topic(f"{name}.{what}", Result, key="user") for what in ("out", "again"))
    visits = app.topic(f"{name}.visits", Total, key="key")
    seen = app.table("seen", int, default=int)
    by_group = events.group_by("group")

    @app.agent(by_group, to=out)
    async def count(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.group, event.n, str(seen.update(event.group, lambda number: number + 1)))

    by_digit = events.key_by(lambda event: event.n % 4, name="digits")
    app.aggregate("visit", by_digit, aggregates.count(), window=session("60ms"), to=visits)

    @app.agent(by_digit, to=again)
    async def tell(stream: Stream[Event, int]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            yield Result(str(record.key), record.value.n, str(record.partition))

    return Case(app, phases_of(events.name, 3), settings=PATIENT)


class Guess(msgspec.Struct, frozen=True):
    """A prediction under the number of its event."""

    id: str
    probability: float
    group: str


def labelled(name: str, _: Path) -> Case:
    """Predictions and their labels: in time, early, repeated, late, missing, and without a prediction."""
    app = App(name)
    events = app.topic(f"{name}.in", Event, key="user", event_time="at")
    guesses = app.topic(f"{name}.guesses", Guess, key="id")
    truths = app.topic(f"{name}.truths", Event, key="user", event_time="at")

    @app.agent(events, to=guesses)
    async def guess(stream: Stream[Event]) -> AsyncIterator[Guess]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Guess(f"id-{event.n}", event.n % 100 / 100, event.group)

    app.labels(
        truths,
        predictions=guesses,
        truth=lambda truth: truth.n % 3 == 0,
        score=lambda guess: guess.probability,
        within="200ms",
        window="500ms",
        slices=["group"],
        name="labels",
    )

    def labels(numbers: Iterable[int]) -> list[Input]:
        """Return labels a moment after their events, twice for some, early or late for others, none for some."""
        delays: Sequence[tuple[int, ...]] = ((50,), (), (50, 90), (-30,), (260,), (120,))
        made = [
            event_of(n, at_ms=n * STEP_MS + delay, user=f"id-{n if n % 17 else n + 5_000}")
            for n in numbers
            for delay in delays[n % len(delays)]
        ]
        return [record_of(event) for event in sorted(made, key=lambda event: event.at)]

    def events_of(numbers: Iterable[int]) -> list[Input]:
        return [record_of(event_of(n)) for n in numbers]

    given = [
        Phase(
            {
                events.name: [*events_of(range(60)), *ticks(1_000, 700)],
                truths.name: [*labels(range(60)), *ticks(3_000, 701)],
            }
        ),
        Phase(
            {
                events.name: [*events_of(range(110, 160)), *ticks(1_010, 1_500)],
                truths.name: [*labels(range(110, 160)), *ticks(3_010, 1_501)],
            }
        ),
        Phase({events.name: ticks(1_020, 3_000), truths.name: ticks(3_020, 3_001)}),
        Phase({events.name: ticks(1_030, 9_000), truths.name: ticks(3_030, 9_001)}),
    ]
    return Case(app, given, settings=PATIENT, unordered=[guesses.name, f"{name}-performance"])


def timed(name: str, _: Path) -> Case:
    """Timers of keys, of partitions, of the worker and the app, at times of day too; values that expire."""
    app = App(name)
    events = app.topic(f"{name}.in", Event, key="user", event_time="at")
    out, beats = (app.topic(f"{name}.{what}", Result, key="user") for what in ("out", "beats"))
    seen = app.table("seen", int, default=int)
    brief = app.table("brief", int, default=int, ttl="300ms")

    @app.agent(events, to=out)
    async def count(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            number = seen.update(event.user, lambda number: number + 1)
            seen.set_timer(event.user, event.at + timedelta(milliseconds=100))
            yield Result(event.user, event.n, f"{number} {brief.update(event.user, lambda number: number + 1)}")

    @seen.on_timer(to=out)
    async def rest(user: str) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        yield Result(user, seen[user], "rests")
        del seen[user]

    @app.timer("1h", to=beats)
    async def hourly() -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        yield Result("hourly", 1)

    @app.timer("1h", to=beats, per="app")
    async def once() -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        yield Result("once", 1)

    @app.crontab("30 19 * * *", timezone="America/New_York", per="worker")
    async def nightly() -> None:  # pyright: ignore[reportUnusedFunction]
        await beats.send(Result("nightly", 1))

    return Case(
        app,
        [
            Phase({events.name: [*(record_of(event_of(n)) for n in range(40)), *ticks(1_000, 300)]}),
            Phase({events.name: ticks(1_010, 600)}),
            Phase({events.name: [*(record_of(event_of(n)) for n in range(90, 110)), *ticks(1_020, 1_600)]}, jump="31m"),
            Phase({events.name: ticks(1_030, 3_000)}, jump="30m"),
            Phase({events.name: ticks(1_040, 4_000)}),
        ],
    )


def late(name: str, _: Path) -> Case:
    """Events later than allowed, or of the future, by each policy."""
    app = App(name)
    aside = app.topic(f"{name}.aside", Event, key="user")
    phases: list[dict[str, Sequence[Input]]] = [{}, {}, {}]
    policies: Mapping[str, LatePolicy | Topic[Event, str]] = {
        "process": "process",
        "drop": "drop",
        "dead-letter": "dead-letter",
        "aside": aside,
    }
    for policy, where in policies.items():
        events = app.topic(
            f"{name}.in-{policy}",
            Event,
            key="user",
            event_time="at",
            max_out_of_orderness="20ms",
            late=where,
            max_future="1h",
        )
        counts = app.topic(f"{name}.counts-{policy}", Total, key="key")
        app.aggregate(f"count-{policy}", events, aggregates.count(), window=tumbling("50ms", grace="100ms"), to=counts)
        app.agent(events, to=app.topic(f"{name}.out-{policy}", Result, key="user"), name=f"copy-{policy}")(copy)
        future = replace(record_of(event_of(999, at_ms=7_200_000)), timestamp_ms=START_MS)
        phases[0][events.name] = [*shuffled(range(30), 4, 20), *ticks(1_000, 250)]
        phases[1][events.name] = [
            *shuffled(range(36, 60), 5, 20),
            *(record_of(event_of(n)) for n in range(10, 36, 3)),
            future,
            *ticks(1_010, 900),
        ]
        phases[2][events.name] = ticks(1_020, 3_000)
    return Case(app, [Phase(given) for given in phases], settings=PATIENT)


async def copy(stream: Stream[Event]) -> AsyncIterator[Result]:
    """Tell of each event."""
    async for event in stream:
        yield Result(event.user, event.n)


def on_disk(name: str, folder: Path) -> Case:
    """A table on disk, and what it comes to with events that fail."""
    app = App(name)
    events = app.topic(f"{name}.in", Event, key="user", event_time="at")
    out = app.topic(f"{name}.out", Result, key="user")
    seen = app.table("seen", int, default=int, ttl="2s", store="disk")

    @app.agent(events, to=out)
    async def count(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.user, event.n, str(seen.update(event.user, lambda number: number + 1)))
            if event.n % 9 == 5:
                raise ValueError

    return Case(app, phases_of(events.name, 6), settings={"state_dir": folder / "state"})


def refused(name: str, _: Path) -> Case:
    """Events that do not decode, or that agents or windows fail on, and results that cannot be made, by each policy."""
    app = App(name)
    events = app.topic(f"{name}.in", Event, key="user", event_time="at")
    lenient = app.topic(f"{name}.lenient", Event, key="user", event_time="at", on_error="skip")
    out, skipped, counts = (app.topic(f"{name}.{what}", Result, key="user") for what in ("out", "skipped", "counts"))
    sums = app.topic(f"{name}.sums", Total, key="key")

    @app.agent(events, to=out)
    async def check(stream: Stream[Event]) -> AsyncIterator[Any]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.user, event.n)
            if event.n % 10 == 3:
                raise Reject("a three")
            if event.n % 10 == 7:
                yield "no result"

    @app.batch_agent(events, lenient, to=skipped, on_error="skip")
    def lightly(batch: Batch[Event]) -> Sequence[Result | Reject | None]:  # pyright: ignore[reportUnusedFunction]
        if any(event.n % 10 == 1 for event in batch):
            raise ValueError
        return [Result(event.user, event.n) if event.n % 2 else None for event in batch]

    def told(window: Window[float | None]) -> Total:
        if window.value is not None and window.value > 9:
            raise ValueError
        return Total(window.key, window.start, window.end, window.value)

    app.aggregate("sum", events, aggregates.sum("value"), window=tumbling("50ms"), to=sums, output=told)
    ratio = aggregates.custom(
        "ratio",
        state=float,
        initial=float,
        add=_share_added,
        merge=_plus,
        result=float,
    )
    app.aggregate("ratio", events, ratio, window=tumbling("1h"), to=counts, emit="change", output=_ratio)
    broken = [Input(value, b"user-2", START_MS + 100, -1) for value in (b"{", b"", b'{"n": "one"}', None, b"\xff")]
    given = [
        Phase(
            {events.name: [*shuffled(range(30), 7, 1), *broken], lenient.name: [*shuffled(range(20), 8, 1), *broken]}
        ),
        Phase({events.name: [*shuffled(range(40, 70), 7, 1), *ticks(1_000, 600)], lenient.name: ticks(2_000, 600)}),
        Phase({events.name: ticks(1_010, 1_000), lenient.name: ticks(2_010, 1_000)}),
    ]
    return Case(app, given, settings=PATIENT)


def _share_added(state: float, event: Event, _: int) -> float:
    return state + 1 / (event.n % 8)


def _plus(one: float, other: float) -> float:
    return one + other


def _ratio(window: Window[float]) -> Result:
    return Result(window.key, 0, str(window.value))


def known(name: str, _: Path) -> Case:
    """A table that every worker holds whole, which grows."""
    app = App(name)
    events = app.topic(f"{name}.in", Event, key="group", event_time="at")
    rates = app.topic(f"{name}.rates", Result, key="user")
    out = app.topic(f"{name}.out", Result, key="user")
    table = app.global_table(rates)

    @app.agent(events, to=out)
    async def look(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.group, event.n, f"{table[event.user].text} of {len(table)}")

    def rates_of(text: str, users: Iterable[int]) -> list[Input]:
        told = [Result(f"user-{n}", n, text) for n in users]
        return [Input(msgspec.to_builtins(one), one.user.encode(), START_MS, -1) for one in told]

    def events_of(numbers: Iterable[int]) -> list[Input]:
        return [replace(record_of(event_of(n)), key=f"group-{n % 3}".encode()) for n in numbers]

    given = [
        Phase({rates.name: rates_of("first", range(4)), events.name: events_of(range(20))}),
        Phase({events.name: events_of(range(20, 30))}),
        Phase({rates.name: rates_of("second", [4])}),
        Phase({events.name: events_of(range(30, 60))}),
        Phase({events.name: events_of(range(60, 70))}),
    ]
    return Case(app, given)


def idle(name: str, _: Path) -> Case:
    """Partitions that fall silent, or never say a word: what waits for them goes on without them."""
    app = App(name)
    events = app.topic(f"{name}.in", Event, key="user", event_time="at", max_out_of_orderness=f"{LATENESS_MS}ms")
    out = app.topic(f"{name}.out", Result, key="user")
    visits = app.topic(f"{name}.visits", Total, key="key")
    app.agent(events, to=out)(copy)
    by_group = events.group_by("group")
    app.aggregate("visit", by_group, aggregates.count(), window=session("60ms"), to=visits)
    (first, second, _silent) = keys_of_each_partition()

    def events_at(user: str, first_ms: int) -> list[Input]:
        return [record_of(event_of(n, at_ms=first_ms + n * STEP_MS, user=user)) for n in range(12)]

    given = [
        Phase(
            {events.name: [*events_at(first, 0), *events_at(second, 4), record_of(event_of(99, at_ms=300, user=first))]}
        ),
        Phase({events.name: [*events_at(second, 1_004), record_of(event_of(99, at_ms=1_500, user=second))]}),
        Phase({events.name: events_at(first, 2_000)}),
    ]
    return Case(app, given, idle_timeout="700ms")


def sharing(name: str, topic: str, step: int) -> Case:
    """A table of steps by key, over a topic that other apps may read as well; all of them have tables of that name."""
    app = App(name)
    events = app.topic(topic, Event, key="user", event_time="at")
    out = app.topic(f"{name}.out", Result, key="user")
    totals = app.table("totals", int, default=int)

    @app.agent(events, to=out)
    async def add(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.user, totals.update(event.user, lambda total: total + step))

    return Case(app, [Phase({topic: [record_of(event_of(n)) for n in range(60)]})])


CASES: Mapping[str, Callable[[str, Path], Case]] = {
    "windows": windows,
    "joins": joins,
    "regrouped": regrouped,
    "labelled": labelled,
    "timed": timed,
    "late": late,
    "on-disk": on_disk,
    "refused": refused,
    "known": known,
    "idle": idle,
}
