from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from pathlib import Path

import numpy as np
import pytest

from streamserve.errors import ConfigurationError
from streamserve.features.feast import FeastReader, describe
from streamserve.features.service import ServiceDescription
from topologies.flights.dataset import Message, events
from topologies.flights.events import Flight, Weather
from topologies.flights.feature_repo import prepare_feature_repo
from topologies.flights.rows import NUMBER_INPUTS, WEATHER_MAX_AGE, Rows
from topologies.flights.year import Flights

FLIGHTS = 2_500
"""Scored within the days that are prepared."""


@pytest.fixture(scope="module")
def service(repo: Path) -> ServiceDescription:
    return describe(repo, "delay_v1")


def test_the_service_joins_by_fields_of_a_flight(service: ServiceDescription) -> None:
    assert set(service.join_keys) == {"origin", "tailnum", "route", "day"}
    assert set(service.join_keys) <= set(Flight.model_fields)
    assert service.push_sources == {"weather": ("origin_weather",)}


def test_features_and_flights_give_every_input_of_the_model_and_share_no_name(service: ServiceDescription) -> None:
    assert set(service.features) | set(Flight.model_fields) > set(NUMBER_INPUTS)
    assert not set(service.features) & set(Flight.model_fields)


def test_training_and_serving_agree_on_how_old_weather_may_be(service: ServiceDescription) -> None:
    assert {view.ttl for view in service.views if view.table == "origin_weather"} == {WEATHER_MAX_AGE}


def test_training_rows_are_what_the_online_join_answers(repo: Path, january: Flights, rows: Rows) -> None:
    reader = FeastReader(repo, "delay_v1")
    served = list(_served(reader, events(first=FLIGHTS, year=january)))
    reader.close()
    assert len(served) == FLIGHTS
    names = [name for name in NUMBER_INPUTS if name in reader.features]
    expected = np.stack([rows[name][:FLIGHTS] for name in names], axis=1)
    np.testing.assert_array_equal(np.array([[row[name] for name in names] for row in served], np.float64), expected)


def test_a_folder_with_files_in_it_is_refused(tmp_path: Path, year: Flights) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(ConfigurationError, match="not empty"):
        prepare_feature_repo(tmp_path, year=year)


def _served(reader: FeastReader, messages: Iterator[Message]) -> Iterator[dict[str, object]]:
    """Yield each flight's features, with weather pushed where it falls in the order of events."""
    for topic, run in groupby(messages, key=lambda message: message.topic):
        if topic == "weather":
            reader.push("weather", [Weather.model_validate_json(message.value).model_dump() for message in run])
        elif topic == "flights":
            yield from _read(reader, [Flight.model_validate_json(message.value) for message in run])


def _read(reader: FeastReader, flights: Sequence[Flight]) -> Iterator[dict[str, object]]:
    keys = {name: [getattr(flight, name) for flight in flights] for name in reader.join_keys}
    batch = reader.read(keys, [int(flight.at.timestamp() * 1000) for flight in flights])
    for number in range(batch.size):
        yield dict(batch.row(number))
