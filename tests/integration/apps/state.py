"""Apps with state for the fault tests. Topics are named after the app: ``in.<app>``, ``out.<app>`` and so on."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path
from typing import Literal

import msgspec

from streamserve import App, Stream, Topic, Window, aggregates, session, tumbling

LATENESS_S = 10
"""How far an event may be out of order, in seconds of event time."""
WINDOW_S = 10
GAP_S = 8
OWING_S = 8
"""How long after a user's last event ``owing`` tells of it, by the worker's clock."""


class Spent(msgspec.Struct, frozen=True):
    """An event: ``user`` spent ``amount`` in shop ``shop``."""

    uid: int
    user: str
    shop: str
    amount: int
    at: datetime


class Chain(msgspec.Struct, frozen=True):
    """How many events a user had, and the hash of all of their uids in order."""

    count: int = 0
    digest: str = ""


class Counted(msgspec.Struct, frozen=True):
    """What the table held after an event."""

    uid: int
    user: str
    count: int
    digest: str


class Owed(msgspec.Struct, frozen=True):
    """How many events a user had since it was last told."""

    user: str
    events: int


class Total(msgspec.Struct, frozen=True):
    """A closed window."""

    key: str
    start: datetime
    end: datetime
    value: int


def chained(chain: Chain, uid: int) -> Chain:
    """Return the chain with one more event."""
    return Chain(chain.count + 1, hashlib.sha256(f"{chain.digest}/{uid}".encode()).hexdigest()[:16])


def count_by_user(app: App, spent: Topic[Spent, str], store: Literal["memory", "disk"] = "memory") -> None:
    """Let an agent keep the chain of each user in table ``chains``, and write it with each event."""
    counted = app.topic(f"out.{app.name}", Counted, key="user")
    chains = app.table("chains", Chain, default=Chain, store=store)

    @app.agent(spent, to=counted)
    async def count(stream: Stream[Spent]) -> AsyncIterator[Counted]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            chain = chains.update(event.user, lambda chain, uid=event.uid: chained(chain, uid))
            yield Counted(event.uid, event.user, chain.count, chain.digest)


def tell_of_users(app: App, spent: Topic[Spent, str], delay: str, store: Literal["memory", "disk"] = "memory") -> None:
    """Have a timer by the worker's clock tell how many events a user had, ``delay`` after the last of them."""
    told = app.topic(f"owed.{app.name}", Owed, key="user")
    owed = app.table("owed", int, default=int, store=store)

    @app.agent(spent)
    async def owe(stream: Stream[Spent]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            owed.update(event.user, lambda number: number + 1)
            owed.set_timer(event.user, delay, clock="processing")

    @owed.on_timer(to=told, clock="processing")
    async def settle(user: str) -> AsyncIterator[Owed]:  # pyright: ignore[reportUnusedFunction]
        yield Owed(user, owed[user])
        del owed[user]


def owing(name: str, _: Path) -> App:
    """Nothing but timers by the worker's clock, some seconds after a user's last event."""
    app = App(name)
    tell_of_users(app, app.topic(f"in.{name}", Spent, key="user", event_time="at"), f"{OWING_S}s")
    return app


def counted(name: str, _: Path) -> App:
    """A table of each user's events, in the order of the log."""
    app = App(name)
    count_by_user(app, app.topic(f"in.{name}", Spent, key="user", event_time="at"))
    return app


def windowed(name: str, _: Path, store: Literal["memory", "disk"] = "memory") -> App:
    """The table, in order of event time; tumbling sums by user; sessions by shop; a sum that stays open all day.

    Beside them timers by the clock, soon after each event.
    """
    return spending(App(name), store)[0]


def spending(app: App, store: Literal["memory", "disk"]) -> tuple[App, Topic[Spent, str]]:
    """Give ``app`` what ``windowed`` has; return it with its input."""
    name, lateness = app.name, f"{LATENESS_S}s"
    spent = app.topic(f"in.{name}", Spent, key="user", event_time="at", max_out_of_orderness=lateness)
    sums = app.topic(f"sums.{name}", Total, key="key")
    visits = app.topic(f"visits.{name}", Total, key="key")
    count_by_user(app, spent, store)
    tell_of_users(app, spent, "300ms", store)
    app.aggregate("sum", spent, aggregates.sum("amount"), window=tumbling(f"{WINDOW_S}s"), to=sums, output=_total)
    app.aggregate("day", spent, aggregates.count(), window=tumbling("1d"))
    app.aggregate(
        "visit", spent.group_by("shop"), aggregates.count(), window=session(f"{GAP_S}s"), to=visits, output=_total
    )
    return app, spent


def stored(name: str, folder: Path) -> App:
    """The same with its table on disk."""
    return windowed(name, folder, "disk")


def _total(window: Window[int] | Window[float | None]) -> Total:
    return Total(window.key, window.start, window.end, int(window.value or 0))
