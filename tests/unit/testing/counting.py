"""An app that counts the events of each user in a table and tells the number."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import NamedTuple

import msgspec

from streamserve import App, Stream, Table, Topic

POISON = "poison"
"""A user whose result is too large for the broker."""


class Event(msgspec.Struct, frozen=True):
    user: str


class Seen(msgspec.Struct, frozen=True):
    user: str
    times: int


class Counting(NamedTuple):
    app: App
    events: Topic[Event, str]
    out: Topic[Seen, str]
    seen: Table[str, int]


def counting() -> Counting:
    app = App("counting")
    events = app.topic("events", Event, key="user")
    out = app.topic("out", Seen, key="user")
    seen = app.table("seen", int, default=int)

    @app.agent(events, to=out)
    async def count(stream: Stream[Event]) -> AsyncIterator[Seen]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            times = seen.update(event.user, lambda times: times + 1)
            yield Seen("x" * 2_000_000 if event.user == POISON else event.user, times)

    return Counting(app, events, out, seen)
