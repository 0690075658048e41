"""The values of the topics: flights to score, what became of them, the weather, and the predictions.

Instants are aware and in UTC. Constraints are wide enough for any real flight and narrow enough that a broken sensor or
a swapped column is refused: a record outside them becomes a dead letter.
"""

from __future__ import annotations

from typing import Annotated, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

__all__ = [
    "LATE_AFTER_MINUTES",
    "AircraftSession",
    "Arrival",
    "Delay",
    "Departure",
    "DepartureHour",
    "Flight",
    "Weather",
]

LATE_AFTER_MINUTES = 15
"""A flight is late when it arrives more minutes after schedule than this: the US DOT counts "late" from 15 on."""

FlightId: TypeAlias = Annotated[str, Field(min_length=1, max_length=32)]
"""Local date of the schedule, carrier, number and origin, such as ``2013-01-01-UA-1545-EWR``: unique over the year."""

Airport: TypeAlias = Annotated[str, Field(min_length=3, max_length=3)]
"""FAA code."""

Carrier: TypeAlias = Annotated[str, Field(min_length=2, max_length=2)]
"""IATA code of the airline."""

TailNumber: TypeAlias = Annotated[str, Field(min_length=2, max_length=8)]
"""Registration of the aircraft."""

Minutes: TypeAlias = Annotated[int, Field(ge=-720, le=4320)]
"""Minutes after schedule; negative is early."""


class Flight(BaseModel):
    """A scheduled departure, to be scored at ``at``: one hour before it.

    ``route`` and ``day`` (New York's date at ``at``) are the keys of the route's history. ``hour`` and ``weekday``
    (Monday is 0) are the schedule's, on New York's clock. ``distance`` is in miles.
    """

    model_config = ConfigDict(frozen=True)

    flight_id: FlightId
    origin: Airport
    dest: Airport
    route: Annotated[str, Field(min_length=7, max_length=7)]
    day: Annotated[str, Field(min_length=10, max_length=10)]
    carrier: Carrier
    number: Annotated[int, Field(ge=1, le=9999)]
    tailnum: TailNumber | None
    distance: Annotated[int, Field(ge=1, le=12_000)]
    hour: Annotated[int, Field(ge=0, le=23)]
    weekday: Annotated[int, Field(ge=0, le=6)]
    sched_dep: AwareDatetime
    sched_arr: AwareDatetime
    at: AwareDatetime


class Departure(BaseModel):
    """A flight that left at ``at``, ``delay`` minutes after schedule."""

    model_config = ConfigDict(frozen=True)

    flight_id: FlightId
    origin: Airport
    carrier: Carrier
    at: AwareDatetime
    delay: Minutes


class Arrival(BaseModel):
    """A flight that landed at ``at``, ``delay`` minutes after schedule: the label.

    Cancelled and diverted flights have none.
    """

    model_config = ConfigDict(frozen=True)

    flight_id: FlightId
    origin: Airport
    at: AwareDatetime
    delay: Minutes


class Weather(BaseModel):
    """What an origin's station reported for the hour that ended at ``at``.

    Temperatures in degrees Fahrenheit, humidity in percent, wind in miles per hour and degrees, precipitation in
    inches, pressure in millibars, visibility in miles. The highest surface wind ever measured is 253 mph (WMO, Barrow
    Island 1996), so 300 bounds speeds.
    """

    model_config = ConfigDict(frozen=True)

    origin: Airport
    at: AwareDatetime
    temp: Annotated[float, Field(ge=-80, le=140)] | None
    dewp: Annotated[float, Field(ge=-120, le=100)] | None
    humid: Annotated[float, Field(ge=0, le=100)] | None
    wind_dir: Annotated[float, Field(ge=0, le=360)] | None
    wind_speed: Annotated[float, Field(ge=0, le=300)] | None
    wind_gust: Annotated[float, Field(ge=0, le=300)] | None
    precip: Annotated[float, Field(ge=0, le=15)] | None
    pressure: Annotated[float, Field(ge=850, le=1100)] | None
    visib: Annotated[float, Field(ge=0, le=100)] | None


class Delay(BaseModel):
    """A prediction: ``probability`` that the flight arrives late, ``label`` whether it is over the model's threshold.

    ``at`` is the flight's event time; ``model`` and ``version`` say who answered.
    """

    model_config = ConfigDict(frozen=True)

    flight_id: FlightId
    origin: Airport
    at: AwareDatetime
    probability: Annotated[float, Field(ge=0, le=1)]
    label: bool
    model: str
    version: str


class DepartureHour(BaseModel):
    """How many flights left ``origin`` in the hour ``[start, end)``."""

    model_config = ConfigDict(frozen=True)

    origin: Airport
    start: AwareDatetime
    end: AwareDatetime
    value: Annotated[int, Field(ge=1)]


class AircraftSession(BaseModel):
    """How many flights of an aircraft came up in ``[start, end)``: a gap after the last, no further one had."""

    model_config = ConfigDict(frozen=True)

    tailnum: TailNumber
    start: AwareDatetime
    end: AwareDatetime
    value: Annotated[int, Field(ge=1)]
