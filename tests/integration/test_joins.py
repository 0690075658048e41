"""Features and models in a running app: look-ups, pushes, logs and drift, at every level."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest

from streamserve import App, Batch, FeatureRow, Features, Regression, Reject, Stream, gather
from streamserve.errors import FeatureRowError
from streamserve.features.memory import MemoryReader
from streamserve.inference.registry import Registry
from tests.integration.running import Input, create_topics, dead_letters, process, send, values
from tests.unit.inference.onnx_models import float_package, identity

pytestmark = pytest.mark.broker

START = datetime(2024, 1, 1, tzinfo=UTC)


class Visit(msgspec.Struct, frozen=True):
    n: int
    user: str
    at: datetime


class Profile(msgspec.Struct, frozen=True):
    user: str | None
    x: float
    event_timestamp: datetime


class Scored(msgspec.Struct, frozen=True):
    n: int
    value: float


def visit(n: int, user: str = "ann") -> Input:
    return Input({"n": n, "user": user, "at": at(n)}, user.encode())


def profile(n: int, x: float | None, user: str | None = "ann") -> Input:
    return Input({"user": user, "x": x, "event_timestamp": at(n)}, b"profile")


def at(n: int) -> str:
    return (START + timedelta(seconds=n)).isoformat()


def memory(rows: Mapping[str, float] | None = None) -> MemoryReader:
    return MemoryReader("profiles", ("user",), {"x": float}, {user: {"x": x} for user, x in (rows or {}).items()})


class PickyReader(MemoryReader):
    """A reader that refuses null join keys, as Feast's does."""

    def __init__(self) -> None:
        super().__init__("profiles", ("user",), {"x": float}, {})

    def push(self, push_source: str, rows: Sequence[Mapping[str, object]]) -> None:
        if any(row["user"] is None for row in rows):
            raise FeatureRowError("a pushed row has a null join key")
        super().push(push_source, rows)


@pytest.fixture
def registry(tmp_path: Path) -> Path:
    float_package(tmp_path, identity())
    Registry(tmp_path).set_alias("model", "champion", "1")
    return tmp_path


@pytest.mark.parametrize("level", ["score", "batch", "agent", "io"])
def test_all_levels_score_features_to_the_same_predictions(
    brokers: str, topic_name: str, registry: Path, level: str
) -> None:
    app = App(topic_name, model_registry=registry)
    visits = app.topic(f"{topic_name}.in", Visit, key="user", event_time="at")
    out = app.topic(f"{topic_name}.out", Scored, key="n")
    features = app.features("profiles", event=Visit, log=1.0)
    model = app.model("model", inputs=[features], output=Regression)
    if level == "score":
        app.score(visits, features=features, model=model, to=out, name="rate")
    elif level == "batch":

        @app.batch_agent(visits, to=out, name="rate", max_size=8)
        def _(batch: Batch[Visit]) -> Sequence[Scored | Reject | None]:
            answers = model.predict_many(features.get_many(batch))
            return [Scored(visit.n, y.output.value) for visit, y in zip(batch, answers, strict=True)]

    else:

        @app.agent(visits, to=out, name="rate", io=level == "io")
        async def _(stream: Stream[Visit]) -> AsyncIterator[Scored]:
            async for visit in stream:
                [row] = await gather(features.get(visit))
                yield Scored(visit.n, (await model.predict(row)).output.value)

    create_topics(app, brokers)
    users = ["ann", "bob", "nobody", "cyd"]
    send(brokers, visits.name, [visit(n, users[n % 4]) for n in range(40)])
    known = {"ann": 1.5, "bob": -2.0, "cyd": 8.0}
    process(app, brokers, 40, readers={"profiles": lambda: memory(known)})
    good = [n for n in range(40) if n % 4 != 2]
    assert values(brokers, out.name) == [{"n": n, "value": known[users[n % 4]]} for n in good]
    letters = dead_letters(brokers, app)
    assert sorted(letter.offset for letter in letters) == [n for n in range(40) if n % 4 == 2]
    assert {letter.why for letter in letters} == {("rate", "model", "ModelRowError")}
    logged = values(brokers, f"{topic_name}-features")
    assert [(row["source_offset"], row["features"]["x"]) for row in logged] == [(n, known[users[n % 4]]) for n in good]


def test_a_look_up_sees_the_pushes_that_precede_it_in_event_time(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    visits = app.topic(f"{topic_name}.visits", Visit, key="user", event_time="at")
    profiles = app.topic(f"{topic_name}.profiles", Profile, key="user", event_time="event_timestamp")
    out = app.topic(f"{topic_name}.out", Scored, key="n")
    features = app.features("profiles", event=Visit)
    features.push_from(profiles, push_source="profiles")

    @app.agent(visits, to=out)
    async def look(stream: Stream[Visit]) -> AsyncIterator[Scored]:
        async for event in stream:
            row = await features.get(event)
            yield Scored(event.n, number(row))

    create_topics(app, brokers)
    send(brokers, visits.name, [visit(n) for n in range(60)])
    send(
        brokers,
        profiles.name,
        [profile(n, float(n)) if n != 31 else profile(n, 31.0, user=None) for n in range(1, 60, 10)],
    )
    process(app, brokers, 66, readers={"profiles": PickyReader})
    pushed = [1, 11, 21, 41, 51]
    latest = [max((n for n in pushed if n < visited), default=-1) for visited in range(60)]
    assert [value["value"] for value in values(brokers, out.name)] == latest
    [letter] = dead_letters(brokers, app)
    assert (letter.offset, letter.headers["source-topic"]) == (3, profiles.name)
    assert letter.why == ("push:profiles", "features", "FeatureRowError")


def number(row: FeatureRow) -> float:
    """Return the feature, -1 where it is missing."""
    x = row["x"]
    return x if isinstance(x, float) else -1.0


def test_an_agent_may_push_what_later_events_ask_for(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    visits = app.topic(f"{topic_name}.in", Visit, key="user", event_time="at")
    out = app.topic(f"{topic_name}.out", Scored, key="n")
    features = app.features("profiles", event=Visit)

    @app.agent(visits, to=out)
    async def count(stream: Stream[Visit]) -> AsyncIterator[Scored]:
        async for event in stream:
            seen = number(await features.get(event))
            row = {"user": event.user, "x": seen + 1, "event_timestamp": event.at}
            await features.push("profiles", {"user": event.user} if event.n == 7 else row)
            yield Scored(event.n, seen)

    create_topics(app, brokers)
    send(brokers, visits.name, [visit(n) for n in range(10)])
    process(app, brokers, 10, readers={"profiles": memory})
    assert [value["value"] for value in values(brokers, out.name)] == [-1, 0, 1, 2, 3, 4, 5, 7 - 1, 7]
    [letter] = dead_letters(brokers, app)
    assert (letter.offset, *letter.why) == (7, "count", "features", "FeatureRowError")


class StrictRow(msgspec.Struct, frozen=True, kw_only=True):
    """A row type that refuses missing values."""

    x: float

    def __post_init__(self) -> None:
        if self.x is None:  # pyright: ignore[reportUnnecessaryComparison] - structs do not check what they are given
            raise ValueError("x is missing")


def test_a_row_that_its_type_refuses_is_a_dead_letter(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    visits = app.topic(f"{topic_name}.in", Visit, key="user")
    out = app.topic(f"{topic_name}.out", Scored, key="n")
    features: Features[Visit, StrictRow] = app.features("profiles", event=Visit, row=StrictRow)

    @app.agent(visits, to=out)
    async def look(stream: Stream[Visit]) -> AsyncIterator[Scored]:
        async for event in stream:
            yield Scored(event.n, (await features.get(event)).x)

    create_topics(app, brokers)
    send(brokers, visits.name, [visit(n, "bob" if n == 2 else "ann") for n in range(4)])
    process(app, brokers, 4, readers={"profiles": lambda: memory({"ann": 1.0})})
    assert [value["n"] for value in values(brokers, out.name)] == [0, 1, 3]
    [letter] = dead_letters(brokers, app)
    assert (letter.offset, *letter.why) == (2, "look", "features", "FeatureRowError")


@pytest.mark.parametrize("rate", [0.0, 0.25, 1.0])
def test_the_stated_share_of_feature_rows_is_logged(brokers: str, topic_name: str, rate: float) -> None:
    app = App(topic_name)
    visits = app.topic(f"{topic_name}.in", Visit, key="user", event_time="at")
    features = app.features("profiles", event=Visit, log=rate)

    @app.agent(visits)
    async def look(stream: Stream[Visit]) -> None:
        async for event in stream:
            await features.get(event)
            if event.n == 3:
                raise ValueError("what fails leaves nothing but its dead letter")

    create_topics(app, brokers)
    send(brokers, visits.name, [visit(n) for n in range(400)])
    process(app, brokers, 400, readers={"profiles": lambda: memory({"ann": 1.0})})
    if not rate:
        assert app.plan().engine_topics() == [f"{topic_name}-dead-letters"]
        return
    logged = values(brokers, f"{topic_name}-features")
    assert 3 not in {row["source_offset"] for row in logged}
    assert len(logged) == 399 if rate == 1 else 60 <= len(logged) <= 140
    assert logged[0]["event_time"] == at(logged[0]["source_offset"]).replace("+00:00", "Z")


def test_drift_windows_count_each_scored_row_once_though_a_batch_was_halved(
    brokers: str, topic_name: str, registry: Path
) -> None:
    app = App(topic_name, model_registry=registry)
    visits = app.topic(f"{topic_name}.in", Visit, key="user", event_time="at")
    out = app.topic(f"{topic_name}.out", Scored, key="n")
    model = app.model("model", output=Regression)
    app.monitor(model, detectors=[], window="60s")

    @app.batch_agent(visits, to=out)
    def rate(batch: Batch[Visit]) -> Sequence[Scored | Reject | None]:
        answers = model.predict_many(x=[float(event.n) for event in batch])
        if any(event.n == 5 for event in batch):
            raise ValueError("a five")
        return [Scored(event.n, y.output.value) for event, y in zip(batch, answers, strict=True)]

    create_topics(app, brokers)
    send(brokers, visits.name, [visit(n) for n in range(121)])
    process(app, brokers, 121)
    drift: list[dict[str, Any]] = values(brokers, f"{topic_name}-drift")
    counts = [message["count"] for message in drift if message.get("column") == "x"]
    assert counts == [59, 60]
