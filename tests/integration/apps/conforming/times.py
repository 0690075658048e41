"""What depends on time: timers, values that expire, late events and partitions that fall silent."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from streamserve import App, Stream, Topic, aggregates, session, tumbling
from streamserve.dataflow.planning.nodes import LatePolicy
from tests.integration.apps.conforming.events import (
    LATENESS_MS,
    PATIENT,
    START_MS,
    STEP_MS,
    Event,
    Result,
    Total,
    event_of,
    keys_of_each_partition,
    record_of,
    shuffled,
    ticks,
)
from tests.integration.conformance import Case, Phase
from tests.integration.running import Input


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
