"""An app with a table on disk and a global table; ``STORES_APP`` names it and its topics."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator

import msgspec

from streamserve import App, Stream


class Order(msgspec.Struct, frozen=True):
    user: str
    currency: str


class Rate(msgspec.Struct, frozen=True):
    currency: str
    euros: float


class Paid(msgspec.Struct, frozen=True):
    user: str
    euros: float


def make_app(name: str) -> App:
    """Return the app; its topics are ``<name>.orders``, ``.rates`` and ``.paid``."""
    app = App(name)
    orders = app.topic(f"{name}.orders", Order, key="user")
    rates = app.global_table(app.topic(f"{name}.rates", Rate, key="currency"))
    paid = app.topic(f"{name}.paid", Paid, key="user")
    seen = app.table("seen", int, default=int, store="disk")

    @app.agent(orders, to=paid)
    async def pay(stream: Stream[Order]) -> AsyncIterator[Paid]:  # pyright: ignore[reportUnusedFunction]
        async for order in stream:
            seen.update(order.user, lambda number: number + 1)
            yield Paid(order.user, rates[order.currency].euros)

    return app


app = make_app(os.environ.get("STORES_APP", "stores"))
