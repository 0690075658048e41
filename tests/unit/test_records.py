"""Times, coordinates and records keep what they are given."""

from __future__ import annotations

from dataclasses import FrozenInstanceError
from datetime import UTC, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve import Record
from streamserve.records import Coordinates, to_datetime, to_epoch_ms


@given(st.integers(-62_135_596_800_000, 253_402_300_799_000))
def test_milliseconds_survive_the_way_through_datetimes(epoch_ms: int) -> None:
    assert to_epoch_ms(to_datetime(epoch_ms)) == epoch_ms


@given(st.integers())
def test_every_number_of_milliseconds_has_a_nearest_datetime(epoch_ms: int) -> None:
    assert (to_datetime(epoch_ms) > to_datetime(0)) == (epoch_ms > 0)


@given(st.integers(-(10**12), 10**13), st.integers(-14, 14))
def test_a_datetime_without_a_zone_is_utc_and_others_are_converted(epoch_ms: int, hours: int) -> None:
    naive = to_datetime(epoch_ms).replace(tzinfo=None)
    assert to_epoch_ms(naive) == to_epoch_ms(naive.replace(tzinfo=UTC))
    aware = naive.replace(tzinfo=timezone(timedelta(hours=hours)))
    assert to_epoch_ms(aware) == to_epoch_ms(naive) - hours * 3_600_000


def test_coordinates_read_as_kafka_writes_them() -> None:
    assert str(Coordinates("flights", 2, 17)) == "flights[2]@17"


def test_records_do_not_change() -> None:
    record = Record(1, "k", to_datetime(0), "t", 0, 0)
    with pytest.raises(FrozenInstanceError):
        record.value = 2  # pyright: ignore[reportAttributeAccessIssue] - the fault under test
