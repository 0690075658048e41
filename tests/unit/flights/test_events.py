from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import ValidationError

from topologies.flights.events import Arrival, Delay, Flight, Weather

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
FLIGHT: dict[str, Any] = {
    "flight_id": "2013-07-01-UA-1-EWR",
    "origin": "EWR",
    "dest": "IAH",
    "route": "EWR-IAH",
    "day": "2013-07-01",
    "carrier": "UA",
    "number": 1,
    "tailnum": None,
    "distance": 1400,
    "hour": 9,
    "weekday": 0,
    "sched_dep": NOON,
    "sched_arr": NOON,
    "at": NOON,
}
WEATHER: dict[str, Any] = {
    **dict.fromkeys(("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")),
    "origin": "EWR",
    "at": NOON,
}


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("origin", "NEWARK"),
        ("hour", 24),
        ("weekday", 7),
        ("distance", 0),
        ("number", -1),
        ("tailnum", ""),
        ("at", datetime(2013, 7, 1)),  # noqa: DTZ001
        ("flight_id", ""),
    ],
)
def test_a_flight_out_of_range_is_refused_by_the_field(field: str, value: object) -> None:
    Flight.model_validate(FLIGHT)
    with pytest.raises(ValidationError) as refused:
        Flight.model_validate({**FLIGHT, field: value})
    assert [error["loc"] for error in refused.value.errors()] == [(field,)]


@pytest.mark.parametrize(("field", "value"), [("wind_speed", 1048.36), ("humid", 101.0), ("temp", -200.0)])
def test_impossible_weather_is_refused_and_missing_weather_is_not(field: str, value: float) -> None:
    Weather.model_validate(WEATHER)
    with pytest.raises(ValidationError, match=field):
        Weather.model_validate({**WEATHER, field: value})


def test_an_arrival_may_be_early_but_not_by_a_day() -> None:
    arrival = {"flight_id": "x", "origin": "EWR", "at": NOON, "delay": -86}
    Arrival.model_validate(arrival)
    with pytest.raises(ValidationError):
        Arrival.model_validate({**arrival, "delay": -1440})


def test_a_prediction_is_a_probability() -> None:
    delay = {"flight_id": "x", "origin": "EWR", "at": NOON, "label": False, "model": "delay", "version": "1"}
    Delay.model_validate({**delay, "probability": 0.25})
    with pytest.raises(ValidationError):
        Delay.model_validate({**delay, "probability": 1.25})
