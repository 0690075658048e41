"""An app that joins two streams, for the fault tests. Topics are named after the app: ``left.<app>`` and so on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from pathlib import Path

import msgspec

from streamserve import App, Stream

LATENESS_S = 10
"""How far an event may be out of order, in seconds of event time."""
WITHIN_S = 20


class Half(msgspec.Struct, frozen=True):
    """An event of either side."""

    n: int
    user: str
    at: datetime


class Met(msgspec.Struct, frozen=True):
    """The numbers of both events of a pair."""

    left: int | None
    right: int | None
    user: str


def joined(name: str, _: Path) -> App:
    """Every pair, and every event of either side that stays alone."""
    app = App(name)
    lateness = f"{LATENESS_S}s"
    left, right = (
        app.topic(f"{side}.{name}", Half, key="user", event_time="at", max_out_of_orderness=lateness)
        for side in ("left", "right")
    )
    out = app.topic(f"out.{name}", Met, key="user")

    @app.agent(left.outer_join(right, within=f"{WITHIN_S}s", name="met"), to=out)
    async def tell(stream: Stream[tuple[Half | None, Half | None]]) -> AsyncIterator[Met]:  # pyright: ignore[reportUnusedFunction]
        async for one, other in stream:
            known = one or other
            assert known is not None
            yield Met(one and one.n, other and other.n, known.user)

    return app
