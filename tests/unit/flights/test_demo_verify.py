"""Every prediction is held against an offline score of its logged row."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest

from topologies.flights.demo.verify import Predicted, RollingCheck, Scheduled, Used, count_mismatches
from topologies.flights.reference import score_offline
from topologies.flights.rolling import ROLLING_INPUTS
from topologies.flights.rows import NUMBER_INPUTS, STRING_INPUTS, Rows
from topologies.flights.year import Flights

SIZE = 20
SCHEDULED = (*STRING_INPUTS, "hour", "weekday", "distance")
ASKED = [name for name in NUMBER_INPUTS if name not in SCHEDULED]


@pytest.fixture(scope="module")
def scheduled(year: Flights, rows: Rows) -> dict[tuple[int, int], Scheduled]:
    columns = {name: rows[name][:SIZE].tolist() for name in SCHEDULED}
    return {
        (0, index): Scheduled(year.flight_id[index], **{name: column[index] for name, column in columns.items()})
        for index in range(SIZE)
    }


@pytest.fixture
def used(rows: Rows) -> list[Used]:
    columns = {name: rows[name][:SIZE].tolist() for name in ASKED}
    return [
        Used(0, index, {name: None if np.isnan(column[index]) else column[index] for name, column in columns.items()})
        for index in range(SIZE)
    ]


@pytest.fixture
def predictions(scheduled: dict[tuple[int, int], Scheduled], used: list[Used]) -> list[Predicted]:
    inputs = [
        {**row.features, **msgspec.structs.asdict(scheduled[row.source_partition, row.source_offset])} for row in used
    ]
    ids = [each.flight_id for each in scheduled.values()]
    return [Predicted(*pair, "1") for pair in zip(ids, score_offline(inputs).tolist(), strict=True)]


def test_predictions_that_follow_from_their_rows_agree(
    scheduled: dict[tuple[int, int], Scheduled], used: list[Used], predictions: list[Predicted]
) -> None:
    assert count_mismatches(scheduled, used, predictions) == 0


def test_a_prediction_that_does_not_follow_from_its_row_is_counted(
    scheduled: dict[tuple[int, int], Scheduled], used: list[Used], predictions: list[Predicted]
) -> None:
    predictions[3].probability += 1e-4
    assert count_mismatches(scheduled, used, predictions) == 1


def test_a_prediction_without_a_logged_row_is_counted(
    scheduled: dict[tuple[int, int], Scheduled], used: list[Used], predictions: list[Predicted]
) -> None:
    assert count_mismatches(scheduled, used[1:], predictions) == 1


def test_a_row_that_was_logged_twice_is_counted(
    scheduled: dict[tuple[int, int], Scheduled], used: list[Used], predictions: list[Predicted]
) -> None:
    assert count_mismatches(scheduled, [*used, used[0]], predictions) == 1


def test_a_row_of_no_flight_is_counted(
    scheduled: dict[tuple[int, int], Scheduled], used: list[Used], predictions: list[Predicted]
) -> None:
    stray = Used(3, 99, used[0].features)
    assert count_mismatches(scheduled, [*used, stray], predictions) == 1


def test_a_row_whose_flight_has_no_prediction_is_counted(
    scheduled: dict[tuple[int, int], Scheduled], used: list[Used], predictions: list[Predicted]
) -> None:
    assert count_mismatches(scheduled, used, predictions[1:]) == 1


def test_rolling_delays_are_compared_bit_for_bit_and_missing_ones_too(
    scheduled: dict[tuple[int, int], Scheduled], year: Flights, rows: Rows
) -> None:
    late = 5_000 + np.arange(SIZE)
    columns = {name: rows[name][late].tolist() for name in ROLLING_INPUTS}
    flights = dict(zip(scheduled, year.flight_id[late].tolist(), strict=True))
    used = [
        Used(*place, {name: None if np.isnan(column[row]) else column[row] for name, column in columns.items()})
        for row, place in enumerate(flights)
    ]
    check = RollingCheck(
        {"flight_id": year.flight_id, **{name: rows[name] for name in ROLLING_INPUTS}},
        {place: Scheduled(flights[place], "", "", "", 0, 0, 0) for place in flights},
    )
    assert list(check.passed_on(used)) == used
    assert check.mismatched == 0
    used[0].features["origin_delay"] = float(np.nextafter(columns["origin_delay"][0], np.inf))
    used[1].features["carrier_delay"] = None
    assert len(list(check.passed_on([*used, Used(3, 99, used[2].features)]))) == SIZE + 1
    assert check.mismatched == 3
