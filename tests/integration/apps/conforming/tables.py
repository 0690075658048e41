"""Tables on disk, tables that every worker holds whole, and two apps with tables of one name."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from dataclasses import replace
from pathlib import Path

import msgspec

from streamserve import App, Stream
from tests.integration.apps.conforming.events import START_MS, Event, Result, event_of, phases_of, record_of
from tests.integration.conformance import Case, Phase
from tests.integration.running import Input


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
