"""The year as columns: every flight with its instants worked out, and the weather.

Rules for the source's clocks (checked over the whole year by the tests):

- The schedule is ``time_hour``, the UTC instant of the scheduled hour, plus ``minute``.
- A departure is the schedule plus its delay.
- An arrival is the first instant after the departure at which the destination's clock shows ``arr_time``. That agrees
  with the delay and the time in the air for all 327,346 flights that have a delay, one of which landed in the hour
  that spring's change skips.
- BQN, PSE, SJU and STT, absent from the airports file, keep Puerto Rico's time (UTC-4).
- A weather row of ``time_hour`` holds observations up to 51 minutes later, so it is known at ``time_hour`` + 1 h.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from topologies.flights.clocks import DAY_MINUTES, NEW_YORK, Clocks, clock_minutes
from topologies.flights.events import LATE_AFTER_MINUTES
from topologies.flights.source import Columns, Floats, Instants, Strings, minutes_utc, numbers, read_columns

__all__ = ["WEATHER_FIELDS", "Flights", "WeatherHours", "joined", "load_flights", "load_weather"]

WEATHER_FIELDS = ("temp", "dewp", "humid", "wind_dir", "wind_speed", "wind_gust", "precip", "pressure", "visib")

_LEAD_MINUTES = 60
_WEATHER_LAG_MINUTES = 60
_PUERTO_RICO = "America/Puerto_Rico"


@dataclass(frozen=True)
class Flights:
    """All scheduled departures as columns of equal length, in the order of their schedule.

    Instants are minutes since the epoch, UTC. ``departed``, ``arrived`` and the delays (minutes) are NaN where the
    source has none: ``arrived`` of a diverted flight is known though its ``arrival_delay`` is not.
    """

    origin: Strings
    dest: Strings
    carrier: Strings
    number: NDArray[np.int64]
    tailnum: Strings
    distance: NDArray[np.int64]
    air_time: Floats
    scheduled: Instants
    scheduled_local: Instants
    scheduled_arrival: Instants
    departed: Floats
    departure_delay: Floats
    arrived: Floats
    arrival_delay: Floats

    def __len__(self) -> int:
        return len(self.scheduled)

    def take(self, rows: NDArray[np.int64]) -> Flights:
        """Return the flights of the given row numbers, in that order."""
        return Flights(**{field.name: getattr(self, field.name)[rows] for field in fields(self)})

    @cached_property
    def flight_id(self) -> Strings:
        """Local date, carrier, number, origin."""
        return joined("-", _dates(self.scheduled_local), self.carrier, self.number.astype(np.str_), self.origin)

    @cached_property
    def route(self) -> Strings:
        """Origin and destination, such as ``EWR-IAH``."""
        return joined("-", self.origin, self.dest)

    @cached_property
    def day(self) -> Strings:
        """New York's date at ``at``."""
        return _dates(self.scheduled_local - _LEAD_MINUTES)

    @property
    def at(self) -> Instants:
        """When the flight is scored: an hour before its schedule."""
        return self.scheduled - _LEAD_MINUTES

    @property
    def month(self) -> NDArray[np.int64]:
        """The schedule's month in New York, from 1."""
        return self.scheduled_local.astype("datetime64[m]").astype("datetime64[M]").astype(np.int64) % 12 + 1

    @property
    def hour(self) -> NDArray[np.int64]:
        """The schedule's hour on New York's clock."""
        return self.scheduled_local % DAY_MINUTES // 60

    @property
    def weekday(self) -> NDArray[np.int64]:
        """The schedule's weekday in New York, Monday is 0."""
        return (self.scheduled_local // DAY_MINUTES + 3) % 7

    @property
    def late(self) -> Floats:
        """1 where the flight arrived late, 0 where it did not, NaN where it has no label."""
        return np.where(np.isnan(self.arrival_delay), np.nan, self.arrival_delay > LATE_AFTER_MINUTES)


@dataclass(frozen=True)
class WeatherHours:
    """Hourly weather as columns, in the order of ``at``: when the hour's row is known, in minutes since the epoch."""

    origin: Strings
    at: Instants
    readings: dict[str, Floats]


def load_flights() -> Flights:
    """Read the year's flights and work out their instants: about 5 s of one slow core.

    Raises:
        ConfigurationError: the data set is not installed.
    """
    raw = _Raw(read_columns("flights"))
    scheduled = raw.instants("time_hour") + raw.whole("minute")
    clocks = Clocks(_destination_zones(raw.columns["dest"]))
    departed = scheduled + raw.number("dep_delay")
    scheduled_arrival = clocks.next_showing(scheduled.astype(np.float64), clock_minutes(raw.number("sched_arr_time")))
    flights = Flights(
        origin=raw.text("origin"),
        dest=raw.text("dest"),
        carrier=raw.text("carrier"),
        number=raw.whole("flight"),
        tailnum=raw.text("tailnum"),
        distance=raw.whole("distance"),
        air_time=raw.number("air_time"),
        scheduled=scheduled,
        scheduled_local=Clocks([NEW_YORK]).local(scheduled),
        scheduled_arrival=scheduled_arrival.astype(np.int64),
        departed=departed,
        departure_delay=raw.number("dep_delay"),
        arrived=clocks.next_showing(departed, clock_minutes(raw.number("arr_time"))),
        arrival_delay=raw.number("arr_delay"),
    )
    return flights.take(np.argsort(scheduled, kind="stable"))


def load_weather() -> WeatherHours:
    """Read the weather, bad values included."""
    raw = _Raw(read_columns("weather"))
    at = raw.instants("time_hour") + _WEATHER_LAG_MINUTES
    order = np.argsort(at, kind="stable")
    readings = {name: raw.number(name)[order] for name in WEATHER_FIELDS}
    return WeatherHours(origin=raw.text("origin")[order], at=at[order], readings=readings)


def joined(separator: str, first: Strings, *rest: Strings) -> Strings:
    """Return the columns joined row by row.

    >>> joined("-", np.array(["EWR"]), np.array(["IAH"])).tolist()
    ['EWR-IAH']
    """
    rows: Iterable[Sequence[str]] = zip(first.tolist(), *(column.tolist() for column in rest), strict=True)
    return np.array([separator.join(row) for row in rows])


class _Raw:
    """The source's columns by kind."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns

    def text(self, name: str) -> Strings:
        return np.array(self.columns[name])

    def number(self, name: str) -> Floats:
        return numbers(self.columns[name])

    def whole(self, name: str) -> NDArray[np.int64]:
        return self.number(name).astype(np.int64)

    def instants(self, name: str) -> Instants:
        return minutes_utc(self.columns[name])


def _destination_zones(destinations: Sequence[str]) -> list[str]:
    airports = read_columns("airports")
    zones = dict(zip(airports["faa"], airports["tzone"], strict=True))
    return [zones.get(airport, _PUERTO_RICO) for airport in destinations]


def _dates(local: Instants) -> Strings:
    return np.datetime_as_string(local.astype("datetime64[m]"), unit="D")
