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

# Routes and aircraft are written before the stream starts and do not change while it runs.
unchanging = {"route_history": "1h", "aircraft_register": "1h"}
features = app.features("delay_v1", event=Flight, cached_for=unchanging, log=1)
features.push_from(weather, push_source="weather")
model = app.model("delay", inputs=[Flight, features], output=Binary)

app.score(flights, features=features, model=model, to=delays)

# Both columns are shares, so one set of thresholds suits both. Detectors compare spans of a week or more (an origin has
# about 300 flights a day): with River's defaults each day's rush hour and each storm is a drift of its own.
app.monitor(
    model,
    detectors=[ADWIN(min_window_length=2000), PageHinkley(min_instances=1000, threshold=300)],
    window="1d",
    slices=["origin"],
    detector_columns=["probability", "route_late_share"],
)
