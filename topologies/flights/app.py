"""The topology: flights in, weather and rolling delays among their features, delays out, judged on arrival."""

from pathlib import Path

from river.drift import ADWIN, PageHinkley

from streamserve import App, Binary, aggregates, hopping
from topologies.flights.events import LATE_AFTER_MINUTES, Arrival, Delay, Departure, Flight, Weather

__all__ = ["app"]

_HERE = Path(__file__).parent

app = App("flights", feature_repo=_HERE / "feature_repo", model_registry=_HERE / "models")

# At equal times topics take turns as declared: a flight sees the hour's weather and the minute's departures.
weather = app.topic("weather", Weather, key="origin", event_time="at")
departures = app.topic("departures", Departure, key="origin", event_time="at")
flights = app.topic("flights", Flight, key="origin", event_time="at")
arrivals = app.topic("arrivals", Arrival, key="flight_id", event_time="at")
delays = app.topic("delays", Delay, key="flight_id", event_time="at")

# How late departures have run, at the airport and of the carrier there: known an hour before a flight of its own.
recent = hopping("3h", step="15m")
origin_delay = app.aggregate("origin_delay", departures, aggregates.mean("delay"), window=recent)
carrier_delay = app.aggregate("carrier_delay", departures, aggregates.mean("delay"), window=recent, by="carrier")
rolling = {"origin_delay": origin_delay, "carrier_delay": carrier_delay}

# Routes and aircraft are written before the stream starts and do not change while it runs.
unchanging = {"route_history": "1h", "aircraft_register": "1h"}
features = app.features("delay_v1", event=Flight, cached_for=unchanging, windows=rolling, log=1)
features.push_from(weather, push_source="weather")
model = app.model("delay", inputs=[Flight, features], output=Binary)

app.score(flights, features=features, model=model, to=delays)

# Flights that are cancelled or diverted never get a label: their predictions are given up after three days.
outcomes = app.labels(
    arrivals,
    predictions=delays,
    within="3d",
    truth=lambda arrival: arrival.delay > LATE_AFTER_MINUTES,
    score=lambda delay: delay.probability,
    window="month",
    name="outcomes",
)

# Both columns are shares, so one set of thresholds suits both. Detectors compare spans of a week or more (an origin has
# about 300 flights a day): with River's defaults each day's rush hour and each storm is a drift of its own.
app.monitor(
    model,
    detectors=[ADWIN(min_window_length=2000), PageHinkley(min_instances=1000, threshold=300)],
    window="1d",
    slices=["origin"],
    detector_columns=["probability", "route_late_share"],
)
