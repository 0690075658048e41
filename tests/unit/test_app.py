"""Declarations become a plan, and what cannot work is refused where it is written."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any

import msgspec
import pytest

from streamserve import App, Batch, Regression, Stream, Topic, aggregates, sliding
from streamserve.dataflow.planning.nodes import TopicNode
from streamserve.errors import PlanError


class Event(msgspec.Struct, frozen=True):
    n: int


class Row(msgspec.Struct, frozen=True):
    n: int


async def generator(stream: Stream[Any]) -> AsyncIterator[Event]:
    async for event in stream:
        yield event


async def coroutine(stream: Stream[Any]) -> None:
    async for _ in stream:
        pass


async def timer() -> AsyncIterator[Event]:
    yield Event(1)


def batch_function(batch: Batch[Any]) -> Sequence[Event | None]:
    return list(batch)


@pytest.fixture
def app() -> App:
    return App("shop")


def test_the_plan_is_what_was_declared(app: App) -> None:
    orders, results = app.topic("orders", Event, key="n"), app.topic("results", Event, key="n")
    app.agent(orders, to=results)(generator)
    app.agent(orders, name="watch", ordering="unordered", on_error="skip")(coroutine)
    app.timer("1s", to=results)(timer)
    plan = app.plan()
    assert [(agent.name, agent.sources, agent.to) for agent in plan.agents] == [
        ("generator", ("orders",), "results"),
        ("watch", ("orders",), None),
    ]
    assert [(part.name, part.topics) for part in plan.parts] == [("orders", ("orders",))]
    assert [(node.name, node.every_ms, node.per) for node in plan.timers] == [("timer", 1000, "partition")]
    assert plan.dead_letter_topic == "shop-dead-letters"
    assert plan.engine_topics() == ["shop-dead-letters"]


def test_topics_that_an_agent_or_a_push_connects_are_one_part(app: App) -> None:
    names = ["a", "b", "c", "d", "e"]
    topics = {name: app.topic(name, Row if name == "d" else Event, key="n") for name in names}
    app.agent(topics["b"], topics["a"])(coroutine)
    app.agent(topics["d"], name="asks")(coroutine)
    app.agent(topics["e"], name="alone")(coroutine)
    features = app.features("service", event=Row)
    features.push_from(topics["c"], push_source="source")
    parts = app.plan().parts
    assert [part.topics for part in parts] == [("a", "b"), ("c", "d"), ("e",)]
    assert [part.push_topics for part in parts] == [frozenset(), {"c"}, frozenset()]
    assert [part.merges for part in parts] == [True, True, False]


def test_a_topic_may_be_declared_twice_alike_and_not_otherwise(app: App) -> None:
    assert app.topic("orders", Event, key="n").name == app.topic("orders", Event, key="n").name
    with pytest.raises(PlanError, match="declared twice"):
        app.topic("orders", Row, key="n")
    assert app.plan().topics == {"orders": TopicNode("orders", Event, "n")}


@pytest.mark.parametrize(
    "name", ["shop-dead-letters", "shop-drift", "shop-x-changelog", "", "a b", "é", ".a", "x" * 101]
)
def test_a_topic_name_that_kafka_or_the_engine_cannot_take_is_refused(app: App, name: str) -> None:
    with pytest.raises(PlanError, match=r"the engine's own|use up to 100 letters"):
        app.topic(name)


def test_a_bad_app_name_is_refused() -> None:
    with pytest.raises(PlanError, match="app name"):
        App("my app")


def test_each_kind_of_function_has_its_decorator(app: App) -> None:
    orders = app.topic("orders", Event, key="n")
    anything: Any = app
    with pytest.raises(PlanError, match="has no to= topic"):
        anything.agent(orders)(generator)
    with pytest.raises(PlanError, match="does not yield"):
        anything.agent(orders, to=orders)(coroutine)
    with pytest.raises(PlanError, match="must be 'async def'"):
        anything.agent(orders, to=orders)(batch_function)
    with pytest.raises(PlanError, match="plain function"):
        anything.batch_agent(orders, to=orders)(coroutine)
    with pytest.raises(PlanError, match="async generator"):
        anything.timer("1s", to=orders)(batch_function)
    with pytest.raises(PlanError, match="async generator"):
        anything.lifespan(batch_function)


def test_two_agents_of_one_name_are_refused(app: App) -> None:
    orders = app.topic("orders", Event, key="n")
    app.agent(orders)(coroutine)
    with pytest.raises(PlanError, match="declared twice: give one of them name="):
        app.agent(orders)(coroutine)


def test_what_belongs_to_another_app_is_refused(app: App) -> None:
    other = App("other")
    orders, foreign = app.topic("orders", Event, key="n"), other.topic("foreign", Event, key="n")
    app.agent(orders, to=foreign)(generator)
    with pytest.raises(PlanError, match="'foreign', which belongs to another app"):
        app.plan()
    scored = App("scored")
    scored.score(scored.topic("rows", Row, key="n"), model=other.model("m", output=Regression), to=scored.topic("y"))
    with pytest.raises(PlanError, match="model 'm', which belongs to another app"):
        scored.plan()


def test_a_push_needs_typed_values(app: App) -> None:
    app.agent(app.topic("rows", Row, key="n"))(coroutine)
    app.features("service", event=Row).push_from(app.topic("raw"), push_source="source")
    with pytest.raises(PlanError, match="'raw', whose values are bytes"):
        app.plan()


def test_values_that_mean_nothing_are_refused(app: App) -> None:
    orders = app.topic("orders", Event, key="n")
    nothing: list[Topic[Event, str]] = []
    refusals: dict[str, Callable[[], object]] = {
        "at least 1": lambda: app.batch_agent(orders, to=orders, max_size=0),
        "at least one topic": lambda: app.agent(*nothing)(coroutine),
        "each topic once": lambda: app.agent(orders, orders)(coroutine),
        "no time at all": lambda: app.timer("0s", to=orders)(timer),
        "a share between 0 and 1": lambda: app.features("s", event=Row, log=1.5),
    }
    for said, declare in refusals.items():
        with pytest.raises(PlanError, match=said):
            declare()


def test_features_models_and_monitors_are_declared_once(app: App) -> None:
    model = app.model("m", output=Regression)
    app.monitor(model, detectors=[], window="1h")
    app.features("s", event=Row)
    for again in (
        lambda: app.model("m", output=Regression),
        lambda: app.monitor(model, detectors=[], window="1h"),
        lambda: app.features("s", event=Row),
    ):
        with pytest.raises(PlanError, match=r"twice|two monitors"):
            again()
    assert app.plan().engine_topics() == ["shop-dead-letters", "shop-drift", "shop-state-changelog"]


def test_results_of_a_sliding_window_are_written_with_its_changes_only() -> None:
    app = App("a")
    source, target = app.topic("in", Event, key="n"), app.topic("out", Event, key="n")
    with pytest.raises(PlanError, match="never closes"):
        app.aggregate("seen", source, aggregates.count(), window=sliding("1h"), to=target)
    app.aggregate("seen", source, aggregates.count(), window=sliding("1h"), to=target, emit="change")
