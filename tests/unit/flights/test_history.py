from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from topologies.flights.history import RouteHistory, load_aircraft, route_history
from topologies.flights.year import Flights


@pytest.fixture(scope="module")
def history(year: Flights) -> RouteHistory:
    return route_history(year)


@pytest.mark.parametrize(
    ("route", "day"), [("EWR-IAH", "2013-03-11"), ("JFK-LAX", "2013-11-04"), ("LGA-ATL", "2013-01-02")]
)
def test_history_counts_what_landed_in_the_28_days_before_the_day(
    year: Flights, history: RouteHistory, route: str, day: str
) -> None:
    midnight = datetime.fromisoformat(day).replace(tzinfo=ZoneInfo("America/New_York"))
    start = int(midnight.timestamp()) // 60
    landed = (year.arrived >= start - 28 * 1440) & (year.arrived < start) & ~np.isnan(year.arrival_delay)
    flown = landed & (year.route == route)
    row = np.flatnonzero((history.route == route) & (history.day == day))[0]
    assert history.at[row] == start
    assert history.flights[row] == flown.sum()
    assert history.delay[row] == pytest.approx(year.arrival_delay[flown].mean())
    assert history.late_share[row] == pytest.approx(year.late[flown].mean())


def test_a_history_row_is_known_before_any_flight_that_asks_for_it(year: Flights, history: RouteHistory) -> None:
    starts = dict(zip(history.day.tolist(), history.at.tolist(), strict=True))
    asked = [starts.get(day, 0) for day in year.day.tolist()]
    assert bool((year.at >= asked).all())
    assert bool((year.at - asked < 25 * 60)[np.array(asked) > 0].all())


def test_nothing_is_known_of_a_route_before_its_first_arrival(history: RouteHistory) -> None:
    assert bool((history.flights > 0).all())
    first = datetime(2013, 1, 1, tzinfo=ZoneInfo("America/New_York")) + timedelta(days=1)
    assert history.at.min() == int(first.timestamp()) // 60


def test_the_register_has_3322_aircraft_of_which_some_have_no_year() -> None:
    aircraft = load_aircraft()
    assert len(set(aircraft.tailnum.tolist())) == 3_322
    assert int(np.isnan(aircraft.year).sum()) == 70
