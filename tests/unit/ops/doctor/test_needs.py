"""What an app does with each of its topics."""

from __future__ import annotations

from collections.abc import AsyncIterator

from pydantic import BaseModel

from streamserve import App, Stream
from streamserve.ops.doctor.needs import topic_needs


class Click(BaseModel):
    user: str
    page: str


def shop() -> App:
    app = App("shop")
    clicks = app.topic("clicks", Click, key="user")
    copies = app.topic("copies", Click, key="user")
    again = app.topic("again", Click, key="user")
    prices = app.topic("prices", Click, key="page")
    app.global_table(prices)
    seen = app.table("seen", int, default=int)

    @app.agent(clicks, to=copies)
    async def copy(stream: Stream[Click]) -> AsyncIterator[Click]:
        async for click in stream:
            yield click

    @app.agent(copies.group_by("page"), to=again)
    async def count(stream: Stream[Click]) -> AsyncIterator[Click]:
        async for click in stream:
            seen[click.page] += 1
            yield click

    return app


def test_every_topic_has_a_role_and_the_rights_that_it_takes() -> None:
    needs = {need.name: need for need in topic_needs(shop().plan(), {"clicks": 3})}
    told = {name: (need.role, "".join(sorted(word[0] for word in need.operations))) for name, need in needs.items()}
    [regrouped] = [name for name in told if name.endswith("-regrouped")]
    assert told == {
        "clicks": ("input", "R"),
        "copies": ("input", "RW"),
        "again": ("output", "W"),
        "prices": ("reference", "R"),
        regrouped: ("regrouped", "RW"),
        "shop-dead-letters": ("dead-letters", "W"),
        "shop-seen-changelog": ("changelog", "RW"),
    }
