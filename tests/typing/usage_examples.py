"""Every way of use, written as a user would; type-checked, never run."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import assert_type

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module of bytewax itself
import msgspec
from bytewax.dataflow import Stream as BytewaxStream
from river import drift, metrics

from streamserve import (
    Agent,
    Batch,
    Binary,
    Classification,
    FeatureRow,
    Features,
    Labels,
    Model,
    Prediction,
    Record,
    Regression,
    Reject,
    Source,
    Stream,
    Table,
    Topic,
    Window,
    WindowedTable,
    aggregates,
    count,
    gather,
    session,
    sliding,
    tumbling,
)
from streamserve.testing import Harness
from tests.typing.flights_example import (
    Delay,
    Flight,
    Movement,
    Weather,
    app,
    delays,
    departures,
    features,
    flights,
    model,
    predict,
    recent,
    weather,
)

assert_type(flights, Topic[Flight, str])
assert_type(predict, Agent[Flight, Delay])
assert_type(features, Features[Flight, FeatureRow])
assert_type(model, Model[Binary])
assert_type(app.topic("raw"), Topic[bytes, bytes])
assert_type(recent, WindowedTable[str, float | None])
assert_type(flights.group_by("tailnum"), Source[Flight, str])
assert_type(flights.join(departures, within="1h"), Source[tuple[Flight, Movement], str])
assert_type(flights.left_join(departures, within="1h", name="left"), Source[tuple[Flight, Movement | None], str])
assert_type(
    flights.outer_join(departures, within="1h", name="outer"), Source[tuple[Flight | None, Movement | None], str]
)
assert_type(flights.key_by(lambda flight: flight.at.hour, name="by-hour"), Source[Flight, int])


class Click(msgspec.Struct, frozen=True):
    user: int
    at: datetime


class Tag(msgspec.Struct, frozen=True):
    user: int
    label: str


@dataclass(frozen=True)
class Risk:
    """A feature row of the user's own type."""

    risk: float | None = None


@dataclass(frozen=True)
class Pair:
    """A model's answer of the user's own type."""

    low: float
    high: float


clicks = app.topic("clicks", Click, key=lambda click: click.user, event_time=lambda click: click.at, on_error="skip")
tags = app.topic("tags", Tag, key="user", max_out_of_orderness=timedelta(minutes=5))
risks = app.features("risk_v1", event=Click, row=Risk, entity_row={"user_id": "user"}, log=0.01)
sizes = app.model("size", inputs=[Click, risks], output=Regression)
kinds = app.model("kind", output=Classification, version="3")
bounds = app.model("bounds", output=Pair, alias="challenger")

assert_type(clicks, Topic[Click, int])
assert_type(risks, Features[Click, Risk])
assert_type(bounds, Model[Pair])


@app.agent(clicks, io=True, ordering="partition", on_error="stop", name="tagger")
async def tag(stream: Stream[Click, int]) -> None:
    async for record in stream.records():
        assert_type(record, Record[Click, int])
        assert_type(record.key, int | None)
        async with asyncio.timeout(1):
            kind = await kinds.predict(record.value)
        await tags.send(Tag(record.value.user, kind.output.label), key="k", headers={"kind": b"1"})


@app.agent(flights, weather, to=delays, name="multi")
async def multi(stream: Stream[Flight | Weather]) -> AsyncIterator[Delay]:
    async for event in stream:
        match event:
            case Flight():
                yield Delay(flight_id=event.flight_id, probability=0.0)
            case Weather():
                raise Reject("no")


@app.agent(clicks, to=tags)
async def both(stream: Stream[Click, int]) -> AsyncIterator[Tag]:
    async for click in stream:
        size, bound = await gather(sizes.predict(click), sizes.predict(click, risk=0.5))
        assert_type(size, Prediction[Regression])
        risk = await risks.get(click)
        assert_type(risk, Risk)
        pair = (await bounds.predict(click, risk)).output
        yield Tag(click.user, f"{bound.output.value} {pair.low} {pair.high} {size.model}/{size.version}/{size.role}")


@app.agent(weather)
async def push(stream: Stream[Weather]) -> None:
    async for event in stream:
        await features.push("weather", event)


@app.batch_agent(flights, to=delays, max_size=512)
def many(batch: Batch[Flight]) -> Sequence[Delay | Reject | None]:
    predictions = model.predict_many(batch, features.get_many(batch))
    results: list[Delay | Reject | None] = []
    for record, prediction in zip(batch.records, predictions, strict=True):
        assert_type(record.value, Flight)
        if record.timestamp < datetime(2013, 1, 1, tzinfo=UTC):
            results.append(Reject("too early"))
        elif prediction.output.label:
            results.append(Delay(flight_id=record.value.flight_id, probability=prediction.output.probability))
        else:
            results.append(None)
    return results


app.score(flights, features=features, model=model, to=delays, name="declared")
app.score(
    flights,
    features=features,
    model=model,
    to=delays,
    output=lambda flight, y: Delay(flight_id=flight.flight_id, probability=y.output.probability),
)


@app.dataflow(flights, to=delays)
def raw(records: BytewaxStream[Record[Flight, str]]) -> BytewaxStream[Delay]:
    late = op.filter("late", records, lambda record: record.value.tailnum is not None)
    return op.map("delay", late, lambda record: Delay(flight_id=record.value.flight_id, probability=1.0))


@app.lifespan
async def resources() -> AsyncIterator[None]:
    yield


landed = app.table("landed", datetime)


@landed.on_timer(to=delays, clock="processing", on_error="skip")
async def give_up(flight_id: str) -> AsyncIterator[Delay]:
    landed.set_timer(flight_id, timedelta(hours=1), clock="processing")
    landed.set_timer(flight_id, datetime(2013, 1, 1, tzinfo=UTC))
    yield Delay(flight_id=flight_id, probability=0.0)


@landed.on_timer()
async def forget(flight_id: str) -> None:
    landed.delete_timer(flight_id, clock="processing")
    landed.set_timer(flight_id, "1h")
    del landed[flight_id]


@app.timer("10s", to=delays, per="worker")
async def tick() -> AsyncIterator[Delay]:
    yield Delay(flight_id="", probability=0.0)


class Arrival(msgspec.Struct, frozen=True):
    flight_id: str
    at: datetime
    delay_minutes: float | None


arrivals = app.topic("arrivals", Arrival, key="flight_id", event_time="at")
quality = app.labels(
    arrivals,
    predictions=delays,
    truth=lambda arrival: arrival.delay_minutes is not None and arrival.delay_minutes > 15,
    score=lambda delay: delay.probability,
    within="2d",
    metrics=[metrics.MCC()],
    window="month",
)
assert_type(quality, Labels[Delay, Arrival])

app.monitor(sizes, detectors=[drift.KSWIN(), drift.binary.DDM()], window=timedelta(hours=1), columns=["value"])


counts = app.table("counts", int, default=int)
totals = app.table("totals", dict[str, float], key=int, default=dict, ttl="30d", migrate=dict)
assert_type(counts, Table[str, int])
assert_type(totals, Table[int, dict[str, float]])


@app.agent(departures)
async def tally(stream: Stream[Movement]) -> None:
    async for record in stream.records():
        origin = record.value.origin
        assert_type(counts.update(origin, lambda n: n + 1), int)
        if origin in counts and counts[origin] > 1_000:
            del counts[origin]
        assert_type(counts.get(origin), int | None)
        assert_type(recent[origin], float | None)


class Hour(msgspec.Struct, frozen=True):
    origin: str
    start: datetime
    end: datetime
    value: int


class Visit(msgspec.Struct, frozen=True):
    tailnum: str
    flights: int


def visit_of(window: Window[int]) -> Visit | None:
    return Visit(window.key, window.value) if window.value > 1 else None


hours = app.topic("hours", Hour, key="origin")
visits = app.topic("visits", Visit, key="tailnum")
app.aggregate("hourly", flights, count(), window=tumbling("1h", grace="5m"), to=hours, emit="change")
app.aggregate("visits", flights.group_by("tailnum"), count(), window=session("6h"), to=visits, output=visit_of)
app.aggregate("worst", departures, aggregates.max("delay"), window=sliding("1h"), by=["flight_id"])


def test_it(flight: Flight) -> None:
    with Harness(
        app,
        features={"delay_v1": lambda _: {"wind_speed": 4.0}},
        models={"delay": lambda _: Binary(label=True, probability=0.9)},
    ) as harness:
        harness.send(flights, flight)
        harness.fault("crash")
        assert [record.value.probability for record in harness.read(delays)] == [0.9]
        assert_type(harness.table(counts), dict[str, int])
