from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from itertools import pairwise

import pytest
from pydantic import BaseModel, ValidationError

from streamserve.records import to_epoch_ms
from topologies.flights.dataset import Message, events, labels, message_count
from topologies.flights.events import Arrival, Departure, Flight, Weather
from topologies.flights.year import Flights

TYPES: dict[str, type[Flight | Departure | Arrival | Weather]] = {
    "flights": Flight,
    "departures": Departure,
    "arrivals": Arrival,
    "weather": Weather,
}
RANKS = ("weather", "departures", "arrivals", "flights")


@pytest.fixture(scope="module")
def messages(year: Flights) -> list[Message]:
    return list(events(year=year))


def test_the_year_has_four_topics_of_known_sizes(year: Flights, messages: list[Message]) -> None:
    expected = {"weather": 26_115, "departures": 328_521, "arrivals": 327_346, "flights": 336_776}
    assert Counter(message.topic for message in messages) == expected
    assert message_count(year=year) == expected


def test_messages_come_in_event_time_order_weather_first_and_flights_last(messages: list[Message]) -> None:
    order = [(message.timestamp_ms, RANKS.index(message.topic)) for message in messages]
    assert all(earlier <= later for earlier, later in pairwise(order))


def test_values_are_the_bytes_that_the_event_types_write(messages: list[Message]) -> None:
    for message in messages[::101]:
        assert _parsed(message).model_dump_json().encode() == message.value


def test_event_times_and_keys_are_those_of_the_value(messages: list[Message]) -> None:
    for message in messages[::997]:
        event = _parsed(message)
        assert to_epoch_ms(event.at) == message.timestamp_ms
        assert message.key.decode() == (event.flight_id if isinstance(event, Arrival) else event.origin)


def test_one_weather_record_is_refused_for_its_wind(messages: list[Message]) -> None:
    refused = list(_refused(message for message in messages if message.topic == "weather"))
    assert [error.errors()[0]["loc"] for error in refused] == [("wind_speed",)]


@pytest.mark.parametrize("topic", ["flights", "departures", "arrivals"])
def test_every_flight_and_movement_is_accepted(messages: list[Message], topic: str) -> None:
    assert not list(_refused([message for message in messages if message.topic == topic][::3]))


def test_first_takes_so_many_flights_and_the_rest_up_to_the_last_of_them(january: Flights) -> None:
    some = list(events(first=1_000, year=january))
    counts = Counter(message.topic for message in some)
    assert counts == message_count(1_000, year=january)
    assert counts["flights"] == 1_000
    assert 0 < counts["arrivals"] < counts["departures"] < 1_000
    assert some[-1].topic == "flights"


def test_first_beyond_the_year_is_the_year(january: Flights) -> None:
    assert message_count(10**9, year=january) == message_count(year=january)


def test_first_must_be_positive(january: Flights) -> None:
    with pytest.raises(ValueError, match="at least one"):
        next(events(first=0, year=january))


def test_labels_are_the_arrivals_over_15_minutes_late(year: Flights, messages: list[Message]) -> None:
    known = labels(year)
    assert len(known) == 327_346
    for message in messages[::1009]:
        if message.topic == "arrivals":
            arrival = Arrival.model_validate_json(message.value)
            assert known[arrival.flight_id] == (arrival.delay > 15)


def _parsed(message: Message) -> Flight | Departure | Arrival | Weather:
    return TYPES[message.topic].model_validate_json(message.value)


def _refused(messages: Iterator[Message] | list[Message]) -> Iterator[ValidationError]:
    for message in messages:
        model: type[BaseModel] = TYPES[message.topic]
        try:
            model.model_validate_json(message.value)
        except ValidationError as error:
            yield error
