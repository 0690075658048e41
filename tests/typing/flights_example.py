"""Will this flight arrive over 15 minutes late? A whole app, as a user would write it; checked for types, and run."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime

from pydantic import BaseModel
from river import drift

from streamserve import App, Binary, Stream, hopping, mean


class Weather(BaseModel):
    origin: str
    at: datetime
    wind_speed: float | None


class Flight(BaseModel):
    flight_id: str
    origin: str
    tailnum: str | None
    at: datetime


class Movement(BaseModel):
    """A departure or an arrival."""

    flight_id: str
    origin: str
    at: datetime
    delay: float


class Delay(BaseModel):
    flight_id: str
    probability: float


app = App("flights", feature_repo="feature_repo", model_registry="models")

weather = app.topic("weather", Weather, key="origin", event_time="at")
flights = app.topic("flights", Flight, key="origin", event_time="at")
departures = app.topic("departures", Movement, key="origin", event_time="at")
delays = app.topic("delays", Delay, key="flight_id")

recent = app.aggregate("origin_delay", departures, mean("delay"), window=hopping("3h", step="15m"))
features = app.features("delay_v1", event=Flight, windows={"origin_delay": recent})  # Feast, and ours, as one row
features.push_from(weather, push_source="weather")
model = app.model("delay", inputs=[Flight, features], output=Binary)  # the champion; version="1" pins


@app.agent(flights, to=delays, ordering="unordered")
async def predict(stream: Stream[Flight]) -> AsyncIterator[Delay]:
    async for flight in stream:
        row = await features.get(flight)
        y = await model.predict(flight, row)
        yield Delay(flight_id=flight.flight_id, probability=y.output.probability)


app.monitor(model, detectors=[drift.ADWIN(), drift.PageHinkley()], window="1d", slices=["origin"])
