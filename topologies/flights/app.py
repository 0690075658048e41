"""The topology: flights in, weather pushed into their features, delays out, drift watched."""

from pathlib import Path

from river.drift import ADWIN, PageHinkley

from streamserve import App, Binary
from topologies.flights.events import Delay, Flight, Weather

__all__ = ["app"]

_HERE = Path(__file__).parent

app = App("flights", feature_repo=_HERE / "feature_repo", model_registry=_HERE / "models")

# Weather stands before flights: at equal times topics take turns as declared, and a flight sees the hour's weather.
weather = app.topic("weather", Weather, key="origin", event_time="at")
flights = app.topic("flights", Flight, key="origin", event_time="at")
delays = app.topic("delays", Delay, key="flight_id", event_time="at")

features = app.features("delay_v1", event=Flight, log=1)
features.push_from(weather, push_source="weather")
model = app.model("delay", inputs=[Flight, features], output=Binary)

app.score(flights, features=features, model=model, to=delays)
app.monitor(
    model,
    detectors=[ADWIN(), PageHinkley()],
    window="1d",
    slices=["origin"],
    detector_columns=["probability", "route_late_share"],
)
