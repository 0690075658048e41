from __future__ import annotations

import numpy as np
import pytest

from streamserve.errors import ConfigurationError
from topologies.flights import source
from topologies.flights.clocks import DAY_MINUTES, clock_minutes
from topologies.flights.source import minutes_utc, numbers, read_columns
from topologies.flights.year import Flights, load_weather


def test_the_year_has_all_scheduled_departures_with_unique_ids(year: Flights) -> None:
    assert len(year) == 336_776
    assert len(set(year.flight_id.tolist())) == 336_776
    assert "2013-01-01-UA-1545-EWR" in year.flight_id[:10]


def test_every_schedule_reads_on_new_yorks_clock_as_the_source_says(year: Flights) -> None:
    raw = read_columns("flights")
    order = np.argsort(minutes_utc(raw["time_hour"]) + numbers(raw["minute"]), kind="stable")
    assert np.array_equal(year.scheduled_local % DAY_MINUTES, clock_minutes(numbers(raw["sched_dep_time"]))[order])
    assert np.array_equal(year.month, numbers(raw["month"])[order])


def test_9430_flights_are_never_labelled(year: Flights) -> None:
    assert int(np.isnan(year.late).sum()) == 9_430


def test_arrivals_agree_with_the_delay_and_the_time_in_the_air(year: Flights) -> None:
    labelled = ~np.isnan(year.arrival_delay)
    by_delay = year.arrived - year.scheduled_arrival == year.arrival_delay
    by_air_time = year.arrived - year.departed >= year.air_time
    assert int(labelled.sum()) == 327_346
    assert int((labelled & by_delay & by_air_time).sum()) == 327_346


def test_a_landing_in_the_hour_that_spring_skips_is_told_by_the_clock_as_it_was(year: Flights) -> None:
    row = np.flatnonzero(year.flight_id == "2013-03-09-B6-35-JFK")[0]
    assert year.arrived[row] - year.departed[row] == 177


def test_no_flight_leaves_before_it_is_scored(year: Flights) -> None:
    assert bool((year.departed[~np.isnan(year.departed)] > year.at[~np.isnan(year.departed)]).all())


def test_1573_flights_have_no_temperature_for_their_hour(year: Flights) -> None:
    weather = load_weather()
    hours = {(o, at - 60): t for o, at, t in zip(weather.origin, weather.at, weather.readings["temp"], strict=True)}
    found = [hours.get((o, hour)) for o, hour in zip(year.origin, year.scheduled // 60 * 60, strict=True)]
    assert sum(temp is None for temp in found) == 1_556
    assert sum(temp is None or np.isnan(temp) for temp in found) == 1_573


def test_weather_has_26115_hours_and_one_impossible_wind() -> None:
    weather = load_weather()
    assert len(weather.at) == 26_115
    assert int((weather.readings["wind_speed"] > 300).sum()) == 1


def test_a_missing_data_set_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> None: ...

    monkeypatch.setattr(source, "find_spec", nothing)
    with pytest.raises(ConfigurationError, match="pip install"):
        source.data_folder()
