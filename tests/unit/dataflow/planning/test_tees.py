"""How labels get into a plan: what they read, what is copied for them, and what cannot be."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

import msgspec
import pytest
from river import metrics

from streamserve import App, Labels, Source, Stream, Topic, aggregates, tumbling
from streamserve.dataflow.checks import check
from streamserve.dataflow.planning.schemas import schemas
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.dataflow.render import as_json, as_mermaid, as_text
from streamserve.errors import PlanError
from streamserve.settings import load_settings

COPY = "judged-delays-labels-from-flights-regrouped"


class Event(msgspec.Struct, frozen=True):
    id: str
    origin: str
    at: datetime


class Delay(msgspec.Struct, frozen=True):
    id: str
    probability: float


class Judged:
    """An app with the topics that its labels need, to which tests add what writes predictions."""

    def __init__(self, **more: Any) -> None:
        self.app = App("judged")
        self.flights = self.app.topic("flights", Event, key="origin", event_time="at", max_out_of_orderness="3s")
        self.delays = self.app.topic("delays", Delay, key="id")
        self.arrivals = self.app.topic("arrivals", Event, key="id", event_time="at")
        self.labels = self.judge(self.arrivals, **more)

    def judge(self, labels: Source[Event, str], **more: Any) -> Labels[Delay, Event]:
        return self.app.labels(
            labels,
            predictions=more.pop("predictions", self.delays),
            truth=lambda event: event.id != "",
            score=lambda delay: delay.probability,
            within=more.pop("within", "2d"),
            **more,
        )

    def predict(self, *sources: Source[Event, str], to: Topic[Delay, str] | None = None) -> None:
        self.app.agent(*(sources or (self.flights,)), to=to or self.delays)(predicting)


async def predicting(stream: Stream[Event]) -> AsyncIterator[Delay]:
    async for event in stream:
        yield Delay(event.id, 0.5)


def test_the_apps_own_predictions_are_read_from_a_copy() -> None:
    judged = Judged()
    judged.predict()
    plan = judged.app.plan()
    assert {part.topics: part.labels for part in plan.parts} == {
        ("flights",): (),
        ("arrivals", COPY): ("delays-labels",),
    }
    copy = plan.topics[COPY]
    assert (copy.upstream, copy.key, copy.late, copy.max_out_of_orderness_ms) == ("flights", "id", "process", 3_000)
    assert plan.fed_by(plan.parts[0]) == [COPY]
    specs = {spec.name: spec for spec in topic_specs(plan, {"arrivals": 4})}
    assert specs[COPY].partitions == 4
    assert specs["judged-delays-labels-changelog"].partitions == 4
    assert specs["judged-performance"].partitions is None


def test_predictions_of_others_are_read_where_they_are() -> None:
    [part] = Judged().app.plan().parts
    assert part.topics == ("delays", "arrivals")


def test_agents_that_only_mention_the_topic_write_predictions_too() -> None:
    judged = Judged()
    delays = judged.delays

    @judged.app.agent(judged.flights)
    async def send(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            await delays.send(Delay(event.id, 0.5))

    assert [tee.topic for tee in judged.app.plan().tees] == [COPY]


def test_each_part_that_writes_predictions_has_a_copy() -> None:
    judged = Judged()
    judged.predict()
    more = judged.app.topic("more.flights", Event, key="origin", event_time="at")
    judged.app.agent(more, to=judged.delays, name="other")(predicting)
    plan = judged.app.plan()
    assert [tee.topic for tee in plan.tees] == [COPY, "judged-delays-labels-from-more_flights-regrouped"]
    assert len(plan.parts) == 3


def test_labels_that_are_read_beside_what_is_predicted_are_to_be_regrouped() -> None:
    judged = Judged()
    judged.predict(judged.flights, judged.arrivals)
    with pytest.raises(PlanError, match=r"would wait for themselves: .* source\.group_by"):
        judged.app.plan()


def test_an_agent_that_reads_a_topic_beside_its_own_regrouping_is_refused() -> None:
    judged = Judged()
    judged.predict(judged.flights, judged.flights.group_by("id"))
    with pytest.raises(PlanError, match="would wait for themselves"):
        judged.app.plan()


def test_what_writes_predictions_without_a_record_at_hand_is_refused() -> None:
    judged = Judged()

    @judged.app.timer("1m", to=judged.delays)
    async def beat() -> AsyncIterator[Delay]:  # pyright: ignore[reportUnusedFunction]
        yield Delay("", 0)

    with pytest.raises(PlanError, match="timer 'beat' writes without telling for which record"):
        judged.app.plan()
    judged = Judged()
    judged.app.aggregate("count", judged.flights, aggregates.count(), window=tumbling("1h"), to=judged.delays)
    with pytest.raises(PlanError, match="window 'count' writes without telling"):
        judged.app.plan()
    judged = Judged()
    judged.app.dataflow(judged.flights, to=judged.delays, name="flow")(lambda stream: stream)  # pyright: ignore[reportArgumentType]
    with pytest.raises(PlanError, match="dataflow 'flow' writes without telling"):
        judged.app.plan()


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"threshold": float("nan")}, "a threshold has to be a number"),
        ({"window": "0s"}, "a window has to be 1 ms at least"),
        ({"within": "soon"}, "'soon' is not a duration"),
        ({"metrics": ["MCC"]}, "str is not a metric"),
        ({"name": "state"}, "the name is taken"),
        ({"name": "no spaces"}, "use up to 100 letters"),
    ],
)
def test_options_that_cannot_be_are_refused_where_they_are_written(options: dict[str, Any], problem: str) -> None:
    with pytest.raises(PlanError, match=problem):
        Judged(**options)


def test_names_are_the_states_own() -> None:
    judged = Judged()
    assert repr(judged.labels) == "Labels('delays-labels')"
    with pytest.raises(PlanError, match="the name is taken"):
        judged.judge(judged.arrivals)
    with pytest.raises(PlanError, match="the name is taken"):
        judged.app.table("delays-labels", int)
    with pytest.raises(PlanError, match="cannot hold labels and predictions both"):
        judged.app.labels(
            judged.arrivals, predictions=judged.arrivals, truth=lambda _: True, score=lambda _: 1, within="1d", name="x"
        )


def problems(judged: Judged) -> list[str]:
    judged.predict()
    return [str(problem) for problem in check(judged.app.plan(), load_settings({}))]


def test_check_finds_keys_that_do_not_meet_and_slices_that_are_not_there() -> None:
    assert problems(Judged()) == []
    [missing] = problems(Judged(slices=["carrier"]))
    assert "split by carrier, which topic 'delays' does not have" in missing
    judged = Judged()
    by_origin = judged.app.topic("by-origin", Event, key="origin", event_time="at")
    judged.judge(by_origin, name="other")
    [differently] = problems(judged)
    assert "keyed by 'origin', the predictions of topic 'delays' by 'id': they do not meet" in differently
    judged = Judged()
    raw: Topic[Any, Any] = judged.app.topic("raw")
    judged.judge(raw, name="other")
    [unkeyed] = problems(judged)
    assert "topic 'raw' has none" in unkeyed


def test_every_form_of_the_plan_shows_labels() -> None:
    judged = Judged(slices=["id"], metrics=[metrics.MCC()], window="month")
    judged.predict()
    plan = judged.app.plan()
    assert "    labels  arrivals for delays, within 2d -> judged-performance" in as_text(plan).splitlines()
    [shown] = as_json(plan)["labels"]
    assert json.loads(json.dumps(shown)) == shown
    assert (shown["read_from"], shown["metrics"], shown["window"]) == ([COPY], ["MCC"], "month")
    assert '[["labels delays-labels"]]' in as_mermaid(plan)
    assert "-. copy .->" in as_mermaid(plan)


def test_what_labels_say_has_a_schema() -> None:
    judged = Judged()
    judged.predict()
    schema = schemas(judged.app.plan())["judged-performance"]
    assert {one["$ref"].rsplit("/", 1)[-1] for one in schema["oneOf"]} == {"LabelMatch", "PerformanceReport"}
