"""The rows that a model is trained on: for each flight, what serving would have seen at its moment.

The same rules as the online join: the origin's newest weather not later than the flight's event and not older than
``WEATHER_MAX_AGE``, the route's history as of the day, the aircraft by its tail number, and how late departures have
run; what is not found is missing.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from streamserve.records import to_datetime
from topologies.flights.events import Weather
from topologies.flights.history import load_aircraft, route_history
from topologies.flights.rolling import rolling_rows
from topologies.flights.source import Floats, Strings
from topologies.flights.year import Flights, WeatherHours, joined, load_weather

__all__ = ["NUMBER_INPUTS", "STRING_INPUTS", "WEATHER_INPUTS", "WEATHER_MAX_AGE", "Rows", "model_rows"]

STRING_INPUTS = ("carrier", "origin", "dest")
WEATHER_INPUTS = ("temp", "humid", "wind_speed", "precip", "pressure", "visib")
NUMBER_INPUTS = (
    "hour",
    "weekday",
    "distance",
    *WEATHER_INPUTS,
    "aircraft_year",
    "seats",
    "route_flights",
    "route_delay",
    "route_late_share",
)

WEATHER_MAX_AGE = timedelta(hours=3)
"""Weather older than this, counted against the flight's event time, is not used."""

Rows: TypeAlias = Mapping[str, NDArray[Any]]
"""A column per model input: NumPy strings, or float64 with NaN where missing."""


def model_rows(flights: Flights) -> Rows:
    """Return the model's inputs for each flight; ``flights`` is the whole year, since history comes from it.

    Raises:
        ConfigurationError: the data set is not installed.
    """
    return {
        "carrier": flights.carrier,
        "origin": flights.origin,
        "dest": flights.dest,
        "hour": flights.hour.astype(np.float64),
        "weekday": flights.weekday.astype(np.float64),
        "distance": flights.distance.astype(np.float64),
        **_weather_rows(flights, _accepted(load_weather())),
        **_aircraft_rows(flights),
        **_route_rows(flights),
        **rolling_rows(flights),
    }


def _accepted(weather: WeatherHours) -> WeatherHours:
    """Return the weather that the topic's type accepts: the rest is dead-lettered and never reaches the store."""
    good = np.flatnonzero([_is_valid(weather, row) for row in range(len(weather.at))])
    return WeatherHours(weather.origin[good], weather.at[good], {n: v[good] for n, v in weather.readings.items()})


def _is_valid(weather: WeatherHours, row: int) -> bool:
    readings = {name: float(column[row]) for name, column in weather.readings.items()}
    event: dict[str, object] = {name: None if np.isnan(value) else value for name, value in readings.items()}
    try:
        Weather.model_validate(
            {**event, "origin": str(weather.origin[row]), "at": to_datetime(int(weather.at[row]) * 60_000)}
        )
    except ValidationError:
        return False
    return True


def _weather_rows(flights: Flights, weather: WeatherHours) -> dict[str, Floats]:
    row = np.full(len(flights), -1)
    for origin in np.unique(weather.origin):
        hours = np.flatnonzero(weather.origin == origin)
        here = np.flatnonzero(flights.origin == origin)
        row[here] = np.append(hours, -1)[np.searchsorted(weather.at[hours], flights.at[here], side="right") - 1]
    age = flights.at - weather.at[row]
    row[age > WEATHER_MAX_AGE // timedelta(minutes=1)] = -1
    return {name: _taken(weather.readings[name], row) for name in WEATHER_INPUTS}


def _aircraft_rows(flights: Flights) -> dict[str, Floats]:
    aircraft = load_aircraft()
    row = _found(aircraft.tailnum, flights.tailnum)
    return {"aircraft_year": _taken(aircraft.year, row), "seats": _taken(aircraft.seats, row)}


def _route_rows(flights: Flights) -> dict[str, Floats]:
    history = route_history(flights)
    row = _found(joined(" ", history.route, history.day), joined(" ", flights.route, flights.day))
    return {
        "route_flights": _taken(history.flights, row),
        "route_delay": _taken(history.delay, row),
        "route_late_share": _taken(history.late_share, row),
    }


def _found(keys: Strings, wanted: Strings) -> NDArray[np.int64]:
    """Return where each wanted key stands in ``keys``, -1 where it does not."""
    rows = {key: row for row, key in enumerate(keys.tolist())}
    return np.array([rows.get(key, -1) for key in wanted.tolist()], dtype=np.int64)


def _taken(values: NDArray[Any], rows: NDArray[np.int64]) -> Floats:
    """Return the values of ``rows``, NaN where a row is -1."""
    return np.where(rows < 0, np.nan, values[rows])
