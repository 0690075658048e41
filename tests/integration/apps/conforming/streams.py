"""Streams that are put together: windows, joins, regroupings, and predictions with their labels."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from pathlib import Path

import msgspec

from streamserve import App, Stream, Topic, aggregates, hopping, session, sliding, tumbling
from streamserve.aggregates import Aggregate
from tests.integration.apps.conforming.events import (
    LATENESS_MS,
    PATIENT,
    STEP_MS,
    Event,
    Result,
    Total,
    event_of,
    phases_of,
    record_of,
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
