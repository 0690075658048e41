from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from topologies.flights.clocks import Clocks, clock_minutes

ZONES = (
    "America/New_York",
    "America/Chicago",
    "America/Phoenix",
    "America/Anchorage",
    "America/Puerto_Rico",
    "Pacific/Honolulu",
)
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

instants = st.datetimes(datetime(2013, 1, 1), datetime(2013, 12, 31), timezones=st.just(UTC)).map(  # noqa: DTZ001
    lambda at: at.replace(second=0, microsecond=0)
)


def minutes(at: datetime) -> int:
    return (at - EPOCH) // timedelta(minutes=1)


@settings(deadline=None)
@given(st.sampled_from(ZONES), instants)
def test_local_is_what_the_zone_database_says(zone: str, at: datetime) -> None:
    local = at.astimezone(ZoneInfo(zone)).replace(tzinfo=UTC)
    assert Clocks([zone]).local(np.array([minutes(at)])).tolist() == [minutes(local)]


@settings(deadline=None)
@given(st.sampled_from(ZONES), instants, st.integers(0, 1439))
def test_next_showing_is_the_first_later_minute_with_that_reading(zone: str, after: datetime, clock: int) -> None:
    found = Clocks([zone]).next_showing(np.array([float(minutes(after))]), np.array([float(clock)]))[0]
    later = (after + timedelta(minutes=wait) for wait in range(1, 1440 + 61))
    showing = [at for at in later if _reading(at, zone) == clock]
    if _changes_within_a_day(after, zone):
        assert minutes(after) < found <= minutes(after) + 1440 + 60
    else:
        assert found == minutes(showing[0])


def test_next_showing_is_unknown_where_either_side_is() -> None:
    clocks = Clocks(["America/Chicago", "America/Chicago"])
    assert np.isnan(clocks.next_showing(np.array([np.nan, 22_620_000.0]), np.array([10.0, np.nan]))).all()


def test_2400_reads_as_midnight() -> None:
    assert clock_minutes(np.array([2400.0, 0.0, 2359.0])).tolist() == [0, 0, 1439]


def _reading(at: datetime, zone: str) -> int:
    local = at.astimezone(ZoneInfo(zone))
    return local.hour * 60 + local.minute


def _changes_within_a_day(at: datetime, zone: str) -> bool:
    info = ZoneInfo(zone)
    return at.astimezone(info).utcoffset() != (at + timedelta(minutes=1500)).astimezone(info).utcoffset()
