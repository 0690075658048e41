"""The year as Kafka messages: four topics, one sequence in the order of event time.

``flights``, ``departures`` and ``weather`` are keyed by origin, ``arrivals`` by flight id. Values are JSON, the same
bytes that the models of ``events`` write; the source's one impossible wind speed (1,048 mph) goes out as it is.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import msgspec
import numpy as np
from numpy.typing import NDArray

from topologies.flights.source import Floats, Instants, Strings
from topologies.flights.year import WEATHER_FIELDS, Flights, WeatherHours, load_flights, load_weather

__all__ = ["Message", "events", "labels", "message_count"]

_BLOCK = 8192
_MS_PER_MINUTE = 60_000


class Message(NamedTuple):
    """One record to produce; ``timestamp_ms`` is its event time."""

    topic: str
    key: bytes
    value: bytes
    timestamp_ms: int


@dataclass(frozen=True, slots=True)
class _Topic:
    """One topic's messages in the order of ``at``: a column per field of its value."""

    name: str
    at: Instants
    key: Strings
    columns: Mapping[str, NDArray[np.generic]]

    def until(self, last: int) -> _Topic:
        """Return the messages not later than ``last``."""
        return self.take(int(np.searchsorted(self.at, last, side="right")))

    def take(self, size: int) -> _Topic:
        """Return the first ``size`` messages."""
        return _Topic(self.name, self.at[:size], self.key[:size], {n: c[:size] for n, c in self.columns.items()})

    def messages(self) -> Iterator[Message]:
        encode = msgspec.json.Encoder().encode
        names = tuple(self.columns)
        for start in range(0, len(self.at), _BLOCK):
            block = slice(start, start + _BLOCK)
            times = (self.at[block] * _MS_PER_MINUTE).tolist()
            rows = zip(*(_values(column[block]) for column in self.columns.values()), strict=True)
            for key, row, at_ms in zip(self.key[block].tolist(), rows, times, strict=True):
                yield Message(self.name, key.encode(), encode(dict(zip(names, row, strict=True))), at_ms)


def events(first: int | None = None, *, year: Flights | None = None) -> Iterator[Message]:
    """Yield the messages of the year, oldest first, 1,018,758 in all.

    With ``first``, only the first so many flights, and the other topics up to the last of these. At equal times
    weather comes first and flights last, so that a flight sees what was known at its moment. ``year`` saves reading
    the flights again.

    Raises:
        ConfigurationError: the data set is not installed.
    """
    topics = _topics(load_flights() if year is None else year, load_weather(), first)
    streams = [topic.messages() for topic in topics]
    order: list[int] = _order(topics).tolist()
    for number in order:
        yield next(streams[number])


def message_count(first: int | None = None, *, year: Flights | None = None) -> dict[str, int]:
    """Return how many messages of each topic ``events(first)`` yields."""
    topics = _topics(load_flights() if year is None else year, load_weather(), first)
    return {topic.name: len(topic.at) for topic in topics}


def labels(year: Flights | None = None) -> dict[str, bool]:
    """Return by flight id whether it arrived late; cancelled and diverted flights are not in it."""
    flights = load_flights() if year is None else year
    known = ~np.isnan(flights.arrival_delay)
    late = flights.late[known].astype(np.bool_)
    return dict(zip(flights.flight_id[known].tolist(), late.tolist(), strict=True))


def _topics(year: Flights, weather: WeatherHours, first: int | None) -> list[_Topic]:
    """Return the topics in the order of their rank at equal times."""
    if first is not None and first < 1:
        raise ValueError(f"first is {first}; ask for at least one flight")
    wanted = _flights(year)
    others = [_weather(weather), _departures(year), _arrivals(year)]
    if first is None or first >= len(wanted.at):
        return [*others, wanted]
    flights = wanted.take(first)
    return [*(topic.until(int(flights.at[-1])) for topic in others), flights]


def _order(topics: list[_Topic]) -> NDArray[np.int8]:
    """Return the topic number of each message of the merged sequence."""
    numbers = np.concatenate([np.full(len(topic.at), number, np.int8) for number, topic in enumerate(topics)])
    times = np.concatenate([topic.at for topic in topics])
    return numbers[np.lexsort((numbers, times))]


def _flights(year: Flights) -> _Topic:
    columns: dict[str, NDArray[np.generic]] = {
        "flight_id": year.flight_id,
        "origin": year.origin,
        "dest": year.dest,
        "route": year.route,
        "day": year.day,
        "carrier": year.carrier,
        "number": year.number,
        "tailnum": _nullable(year.tailnum),
        "distance": year.distance,
        "hour": year.hour,
        "weekday": year.weekday,
        "sched_dep": _iso(year.scheduled),
        "sched_arr": _iso(year.scheduled_arrival),
        "at": _iso(year.at),
    }
    return _Topic("flights", year.at, year.origin, columns)


def _departures(year: Flights) -> _Topic:
    more = {"carrier": year.carrier}
    return _movements("departures", year, year.departed, year.departure_delay, key=year.origin, more=more)


def _arrivals(year: Flights) -> _Topic:
    return _movements("arrivals", year, year.arrived, year.arrival_delay, key=year.flight_id, more={})


def _movements(
    topic: str, year: Flights, instants: Floats, delays: Floats, *, key: Strings, more: Mapping[str, Strings]
) -> _Topic:
    rows = np.flatnonzero(~np.isnan(delays))
    rows = rows[np.argsort(instants[rows], kind="stable")]
    at = instants[rows].astype(np.int64)
    columns: dict[str, NDArray[np.generic]] = {
        "flight_id": year.flight_id[rows],
        "origin": year.origin[rows],
        **{name: column[rows] for name, column in more.items()},
        "at": _iso(at),
        "delay": delays[rows].astype(np.int64),
    }
    return _Topic(topic, at, key[rows], columns)


def _weather(weather: WeatherHours) -> _Topic:
    values = {name: weather.readings[name] for name in WEATHER_FIELDS}
    columns: dict[str, NDArray[np.generic]] = {"origin": weather.origin, "at": _iso(weather.at), **values}
    return _Topic("weather", weather.at, weather.origin, columns)


def _nullable(column: Strings) -> NDArray[np.object_]:
    values = column.astype(np.object_)
    values[column == "NA"] = None
    return values


def _iso(instants: Instants) -> Strings:
    return np.datetime_as_string(instants.astype("datetime64[m]"), unit="s", timezone="UTC")


def _values(column: NDArray[np.generic]) -> list[object]:
    """Return the column as Python values, ``None`` for NaN."""
    if column.dtype.kind != "f":
        return column.tolist()
    return [None if value != value else value for value in column.tolist()]  # noqa: PLR0124
