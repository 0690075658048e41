"""Tables and windows that agents mention are found, belong to one part, and restrict how agents run."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from functools import partial, wraps
from typing import Any

import msgspec
import pytest

from streamserve import App, Stream, Topic, aggregates
from streamserve.dataflow.planning.nodes import TableNode
from streamserve.dataflow.planning.references import used_nodes
from streamserve.errors import PlanError
from streamserve.state.windows import tumbling
from streamserve.tables import Table

app = App("uses")
counts = app.table("counts", int, default=int)
others = app.table("others", int, default=int)


class Event(msgspec.Struct, frozen=True):
    user: str
    amount: float = 0.0


class Holder:
    table = counts

    def __init__(self, table: Table[str, int]) -> None:
        self.mine = table

    async def method(self, stream: Stream[Event]) -> None:
        async for event in stream:
            self.mine[event.user] = 1


def helper(user: str) -> None:
    counts.update(user, lambda n: n + 1)


async def by_global(stream: Stream[Event]) -> None:
    async for event in stream:
        counts[event.user] = 1


async def by_helper(stream: Stream[Event]) -> None:
    async for event in stream:
        helper(event.user)


async def by_default(stream: Stream[Event], table: Table[str, int] = counts) -> None:
    async for event in stream:
        table[event.user] = 1


async def by_inner_function(stream: Stream[Event]) -> None:
    def note(user: str) -> None:
        counts[user] = 2

    async for event in stream:
        note(event.user)


def closing_over(table: Table[str, int]) -> Callable[..., Any]:
    async def by_closure(stream: Stream[Event]) -> None:
        async for event in stream:
            table[event.user] = 1

    return by_closure


def wrapped(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def inner(*arguments: Any) -> Any:
        return function(*arguments)

    return inner


async def takes_table(table: Table[str, int], stream: Stream[Event]) -> None:
    async for event in stream:
        table[event.user] = 1


async def uses_none(stream: Stream[Event]) -> None:
    async for _ in stream:
        pass


@pytest.mark.parametrize(
    "function",
    [
        by_global,
        by_helper,
        by_default,
        by_inner_function,
        closing_over(counts),
        wrapped(by_global),
        partial(takes_table, counts),
        Holder(counts).method,
    ],
)
def test_a_table_is_found_where_a_function_mentions_it(function: Callable[..., Any]) -> None:
    assert [node.name for node in used_nodes(function, TableNode)] == ["counts"]


def test_what_is_not_mentioned_is_not_found() -> None:
    assert used_nodes(uses_none, TableNode) == []
    assert used_nodes(None, TableNode) == []


def app_with_topics() -> tuple[App, Topic[Event], Topic[Event], Topic[Event]]:
    new = App("shop")
    return (
        new,
        new.topic("orders", Event, key="user"),
        new.topic("visits", Event, key="user"),
        new.topic("out", Event, key="user"),
    )


def test_tables_and_windows_live_in_the_part_that_reads_their_topics() -> None:
    shop, orders, visits, out = app_with_topics()
    seen = shop.table("seen", int, default=int)
    spent = shop.aggregate("spent", orders, aggregates.sum("amount"), window=tumbling("1h"))
    reached = shop.table("reached", int, default=int)

    @shop.agent(visits, to=out, tables=[reached])
    async def visit(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            seen.update(event.user, lambda n: n + 1)
            yield Event(event.user, spent[event.user] or 0)

    plan = shop.plan()
    [part] = plan.parts
    assert (part.topics, part.tables, part.windows) == (("orders", "visits"), ("seen", "reached"), ("spent",))
    assert {"shop-seen-changelog", "shop-reached-changelog", "shop-spent-changelog"} <= set(plan.engine_topics())


def test_a_table_of_agents_that_read_apart_is_refused() -> None:
    shop, orders, visits, _ = app_with_topics()
    seen = shop.table("seen", int, default=int)
    shop.agent(orders, name="first")(closing_over(seen))
    shop.agent(visits, name="second")(closing_over(seen))
    with pytest.raises(PlanError, match=r"table 'seen' is used by agents .* first and second"):
        shop.plan()


def test_a_table_needs_events_of_one_key_in_order() -> None:
    shop, orders, _, _ = app_with_topics()
    shop.agent(orders, ordering="unordered", name="free")(closing_over(shop.table("seen", int, default=int)))
    with pytest.raises(PlanError, match="ordering='unordered'"):
        shop.plan()


def test_a_table_of_another_app_is_refused() -> None:
    shop, orders, _, _ = app_with_topics()
    shop.agent(orders, name="reader")(by_global)
    with pytest.raises(PlanError, match="'counts', which belongs to another app"):
        shop.plan()


def test_names_of_state_are_unique() -> None:
    shop, orders, _, _ = app_with_topics()
    shop.table("seen", int)
    with pytest.raises(PlanError, match="the name is taken"):
        shop.aggregate("seen", orders, aggregates.count(), window=tumbling("1h"))
    with pytest.raises(PlanError, match="the name is taken"):
        shop.table("state", int)
    with pytest.raises(PlanError, match="keys are str, int or bytes"):
        shop.table("odd", int, key=float)


def test_an_events_attribute_of_a_tables_name_is_no_mention_of_the_table() -> None:
    def reads(event: Any) -> Any:
        return event.counts

    assert used_nodes(reads, TableNode) == []
