"""Joins as declared: what the plan makes of them, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, TypeAlias

import msgspec
import pytest

from streamserve import App, Batch, Stream, Topic, aggregates, tumbling
from streamserve.agents import Source
from streamserve.clock import SystemClock
from streamserve.dataflow.checks import check
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.dataflow.render import as_json, as_mermaid, as_text
from streamserve.errors import PlanError, TopicError
from streamserve.kafka.admin import Admin
from streamserve.settings import load_settings
from streamserve.testing.memory_kafka import Cluster, memory_clients


class Event(msgspec.Struct, frozen=True):
    user: str = "u"
    at: datetime = datetime(2024, 1, 1, tzinfo=UTC)
    group: str = "g"


class Shop:
    """An app of three topics."""

    def __init__(self) -> None:
        self.app = App("shop")
        self.clicks = self.topic("clicks.v1")
        self.orders = self.topic("orders")
        self.out = self.topic("out")

    def topic(self, name: str) -> Topic[Event, str]:
        return self.app.topic(name, Event, key="user", event_time="at")

    def read(self, *sources: Source[Any, Any], name: str = "tell") -> None:
        @self.app.agent(*sources, name=name)
        async def tell(stream: Stream[Any]) -> None:  # pyright: ignore[reportUnusedFunction]
            async for _ in stream:
                pass


Declare: TypeAlias = Callable[[Shop], object]


def test_both_topics_and_the_agents_on_the_pairs_are_one_part_with_the_joins_state() -> None:
    shop = Shop()
    shop.read(shop.orders, name="look")
    shop.read(shop.clicks.left_join(shop.orders, within="1h"))
    plan = shop.app.plan()
    [part] = plan.parts
    assert (part.topics, part.joins, part.needs_order) == (("clicks.v1", "orders"), ("clicks.v1-join-orders",), True)
    assert [agent.name for agent in part.agents] == ["look", "tell"]
    assert "shop-clicks.v1-join-orders-changelog" in plan.engine_topics()
    assert check(plan, load_settings({})) == []


def test_a_regrouped_side_gives_the_join_its_short_name() -> None:
    shop = Shop()
    by_group = shop.clicks.group_by("group")
    assert by_group.outer_join(shop.orders, within="1m").name == "clicks.v1-by-group-join-orders"
    shop.read(by_group.outer_join(shop.orders, within="1m"))
    assert [part.topics for part in shop.app.plan().parts] == [
        ("clicks.v1",),
        ("orders", "shop-clicks.v1-by-group-regrouped"),
    ]


def test_graphs_show_joins() -> None:
    shop = Shop()
    shop.read(shop.clicks.join(shop.orders, within="1m", name="met"))
    plan = shop.app.plan()
    assert as_json(plan)["joins"] == [
        {"name": "met", "left": "clicks.v1", "right": "orders", "within_ms": 60_000, "kind": "inner"}
    ]
    assert "    joins   clicks.v1 with orders (inner), within 1m -> met" in as_text(plan).splitlines()
    assert '[["met"]]' in as_mermaid(plan)


def test_a_join_that_nothing_reads_is_a_problem_and_reads_nothing() -> None:
    shop = Shop()
    shop.read(shop.clicks)
    shop.clicks.join(shop.orders, within="1m", name="met")
    plan = shop.app.plan()
    assert [part.topics for part in plan.parts] == [("clicks.v1",)]
    assert [(problem.where, problem.what) for problem in check(plan, load_settings({}))] == [
        ("join 'met'", "has no agent, so nothing is joined")
    ]


def raw_topic(shop: Shop) -> Topic[Any, Any]:
    return shop.app.topic("raw")


AT_ONCE: list[tuple[Declare, str]] = [
    (lambda shop: shop.clicks.join(shop.clicks, within="1m"), "joined with itself"),
    (
        lambda shop: shop.clicks.join(shop.orders, within="1m").join(shop.out, within="1m"),
        "let an agent write its pairs to a topic",
    ),
    (lambda shop: shop.clicks.join(shop.orders, within="1m").group_by("user"), "cannot be regrouped"),
    (lambda shop: shop.clicks.join(raw_topic(shop), within="1m"), "text and bytes"),
    (
        lambda shop: [shop.clicks.join(shop.orders, within=f"{n}m") for n in (1, 2)],
        "declared twice with different settings",
    ),
]


@pytest.mark.parametrize(("declare", "words"), AT_ONCE)
def test_what_cannot_be_joined_is_refused_where_it_is_declared(declare: Declare, words: str) -> None:
    shop = Shop()
    with pytest.raises(PlanError, match=words):
        declare(shop)


def pairs_of(shop: Shop, **more: Any) -> Source[tuple[Event, Event], str]:
    return shop.clicks.join(shop.orders, within="1m", **more)


def counted(shop: Shop) -> None:
    shop.app.aggregate("met", pairs_of(shop), aggregates.count(), window=tumbling("1m"))


def reading_a_window(shop: Shop) -> None:
    recent = shop.app.aggregate("recent", shop.clicks, aggregates.count(), window=tumbling("1m"))

    @shop.app.batch_agent(pairs_of(shop), to=shop.out)
    def tell(batch: Batch[tuple[Event, Event]]) -> list[Event | None]:  # pyright: ignore[reportUnusedFunction]
        return [left if recent[left.user] else None for left, _ in batch]


def scored(shop: Shop) -> None:
    shop.app.score(pairs_of(shop), model=shop.app.model("spam", output=Event), to=shop.out)


BY_THE_PLAN: list[tuple[Declare, str]] = [
    (lambda shop: shop.read(pairs_of(shop), shop.out), "read the join alone"),
    (lambda shop: shop.read(pairs_of(shop, name="orders")), "has the name of a topic"),
    (counted, "counts the pairs of a join"),
    (reading_a_window, "which answers only to events"),
    (scored, "its pairs are for agents and batch agents"),
    (
        lambda shop: shop.app.features("f", event=Event).push_from(pairs_of(shop), push_source="p"),
        "push from one of its topics",
    ),
    (lambda shop: shop.read(shop.clicks.join(Shop().topic("elsewhere"), within="1m")), "belongs to another app"),
]


@pytest.mark.parametrize(("declare", "words"), BY_THE_PLAN)
def test_what_pairs_are_not_for_is_refused_by_the_plan(declare: Declare, words: str) -> None:
    shop = Shop()
    declare(shop)
    with pytest.raises(PlanError, match=words):
        shop.app.plan()


def test_topics_of_unequal_partitions_are_refused_at_the_start_with_what_to_change() -> None:
    shop = Shop()
    shop.read(shop.clicks.join(shop.orders, within="1m", name="met"))
    cluster = Cluster(SystemClock())
    for spec in topic_specs(shop.app.plan(), {}, partitions=3):
        cluster.create_topic(spec.name, 4 if spec.name == "orders" else 3, spec.config)
    admin = Admin(load_settings({}), memory_clients(cluster))
    with pytest.raises(TopicError) as refused:
        admin.check(topic_specs(shop.app.plan(), admin.partitions()))
    assert "topic 'orders' (read by tell, joined with 'clicks.v1') has 4 partitions, not 3" in str(refused.value)
    assert "group_by" in str(refused.value)
