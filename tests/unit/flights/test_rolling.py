"""Rolling delays by columns against a plain reading of their definition, event by event."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve import hopping
from topologies.flights.rolling import SIZE_MINUTES, STEP_MINUTES, departed_before, rolling_rows
from topologies.flights.rows import Rows
from topologies.flights.year import Flights

minutes = st.integers(22_620_000, 22_620_600)


@pytest.mark.parametrize("flight", [500, 90_000, 200_001, 336_500])
def test_a_flight_sees_the_departures_of_its_origin_and_carrier_in_the_last_twelve_quarters(
    year: Flights, rows: Rows, flight: int
) -> None:
    at = int(year.at[flight])
    quarter = year.departed // 15
    seen = (year.departed <= at) & (quarter > at // 15 - 12) & (year.origin == year.origin[flight])
    assert rows["origin_delay"][flight] == year.departure_delay[seen].mean()
    seen &= year.carrier == year.carrier[flight]
    assert rows["carrier_delay"][flight] == pytest.approx(year.departure_delay[seen].mean(), nan_ok=True)


@given(st.lists(minutes, max_size=30), minutes)
def test_what_an_event_sees_is_the_engines_window_up_to_its_own_moment(departures: list[int], at: int) -> None:
    window = hopping(f"{SIZE_MINUTES}m", step=f"{STEP_MINUTES}m")
    opens = window.bounds(at * 60_000)[0] // 60_000
    departed = np.array(sorted(departures), dtype=np.int64)
    since, until = departed_before(departed, np.array([at]))
    assert departed[since[0] : until[0]].tolist() == [minute for minute in sorted(departures) if opens <= minute <= at]


def test_a_flight_does_not_see_its_own_departure_or_any_later_one(january: Flights) -> None:
    delayed = january.departure_delay.copy()
    later = january.departed > january.at[5_000]
    delayed[later] += 1_000
    altered = replace(january, departure_delay=delayed)
    before, after = rolling_rows(january), rolling_rows(altered)
    asked = january.at <= january.at[5_000]
    for name, column in before.items():
        np.testing.assert_array_equal(column[asked], after[name][asked])


def test_nothing_departed_before_the_years_first_flights(rows: Rows) -> None:
    assert np.isnan(rows["origin_delay"][:10]).all()
    assert int(np.isnan(rows["origin_delay"]).sum()) == 13_659
    assert int(np.isnan(rows["carrier_delay"]).sum()) == 37_707
