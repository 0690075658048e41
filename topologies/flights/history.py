"""What is known before a flight beyond its schedule: how its route has run, which aircraft flies it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from topologies.flights.clocks import DAY_MINUTES, NEW_YORK
from topologies.flights.source import Floats, Instants, Strings, numbers, read_columns
from topologies.flights.year import Flights

__all__ = ["WINDOW_DAYS", "Aircraft", "RouteHistory", "load_aircraft", "route_history"]

WINDOW_DAYS = 28
"""Four whole weeks: every weekday counts the same."""

_FIRST_DAY = date(2013, 1, 1)
_DAYS = 365


@dataclass(frozen=True, slots=True)
class RouteHistory:
    """One row per route and day on which something is known of the route; columns of equal length.

    ``at`` is the day's start in New York, in minutes since the epoch. ``flights`` is how many arrived on the route in
    the ``WINDOW_DAYS`` before ``at``, ``delay`` their mean arrival delay in minutes, ``late_share`` the share of late
    ones. A flight that is still in the air at ``at`` is not in it.
    """

    route: Strings
    day: Strings
    at: Instants
    flights: NDArray[np.int64]
    delay: Floats
    late_share: Floats


@dataclass(frozen=True, slots=True)
class Aircraft:
    """The register of aircraft as columns; ``year`` of manufacture is NaN where unknown."""

    tailnum: Strings
    year: Floats
    seats: NDArray[np.int64]
    engines: NDArray[np.int64]


def load_aircraft() -> Aircraft:
    """Read the register: 3,322 aircraft.

    Raises:
        ConfigurationError: the data set is not installed.
    """
    planes = read_columns("planes")
    return Aircraft(
        tailnum=np.array(planes["tailnum"]),
        year=numbers(planes["year"]),
        seats=numbers(planes["seats"]).astype(np.int64),
        engines=numbers(planes["engines"]).astype(np.int64),
    )


def route_history(flights: Flights) -> RouteHistory:
    """Return every route's history as of the start of each day of the year."""
    labelled = flights.take(np.flatnonzero(~np.isnan(flights.arrival_delay)))
    parts = list(_histories(labelled))
    return RouteHistory(
        route=np.concatenate([part.route for part in parts]),
        day=np.concatenate([part.day for part in parts]),
        at=np.concatenate([part.at for part in parts]),
        flights=np.concatenate([part.flights for part in parts]),
        delay=np.concatenate([part.delay for part in parts]),
        late_share=np.concatenate([part.late_share for part in parts]),
    )


def _histories(labelled: Flights) -> Iterator[RouteHistory]:
    days = [_FIRST_DAY + timedelta(days=number) for number in range(_DAYS)]
    starts = np.array([_start_of(day) for day in days], dtype=np.int64)
    names = np.array([day.isoformat() for day in days])
    order = np.lexsort((labelled.arrived, labelled.route))
    routes, firsts = np.unique(labelled.route[order], return_index=True)
    for route, rows in zip(routes, np.split(order, firsts[1:]), strict=True):
        yield _history_of(str(route), labelled.take(rows), starts, names)


def _history_of(route: str, flown: Flights, starts: Instants, days: Strings) -> RouteHistory:
    """Return one route's history; ``flown`` comes in the order of arrival."""
    until = np.searchsorted(flown.arrived, starts, side="left")
    since = np.searchsorted(flown.arrived, starts - WINDOW_DAYS * DAY_MINUTES, side="left")
    known = np.flatnonzero(until > since)
    until, since = until[known], since[known]
    count = until - since
    return RouteHistory(
        route=np.full(len(known), route),
        day=days[known],
        at=starts[known],
        flights=count,
        delay=_sums(flown.arrival_delay, since, until) / count,
        late_share=_sums(flown.late, since, until) / count,
    )


def _sums(values: Floats, since: NDArray[np.int64], until: NDArray[np.int64]) -> Floats:
    running = np.concatenate(([0.0], np.cumsum(values)))
    return running[until] - running[since]


def _start_of(day: date) -> int:
    """Return New York's midnight that opens ``day``, in minutes since the epoch."""
    midnight = datetime(day.year, day.month, day.day, tzinfo=ZoneInfo(NEW_YORK))
    return int(midnight.astimezone(UTC).timestamp()) // 60
