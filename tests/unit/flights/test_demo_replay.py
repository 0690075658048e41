"""The replay's pieces that need no broker."""

from __future__ import annotations

from topologies.flights.app import app
from topologies.flights.dataset import Message, events
from topologies.flights.demo.replay import flight_id_of
from topologies.flights.demo.topics import PARTITIONS, demo_topics
from topologies.flights.year import Flights

OWN = (
    "dead-letters",
    "drift",
    "features",
    "performance",
    "state-changelog",
    "origin_delay-changelog",
    "carrier_delay-changelog",
    "outcomes-changelog",
    "outcomes-from-weather-regrouped",
)


def test_flight_ids_are_read_from_the_bytes_that_the_data_set_writes(january: Flights) -> None:
    flights = [message for message in events(50, year=january) if message.topic == "flights"]
    assert [flight_id_of(message.value) for message in flights] == january.flight_id[:50].tolist()


def test_topics_of_the_demo_keep_events_of_any_age() -> None:
    assert {spec.config["retention.ms"] for spec in demo_topics(app.plan())} == {"-1"}


def test_topics_of_the_demo_are_what_the_app_uses_and_what_is_replayed_beside_it() -> None:
    topics = {spec.name: spec.partitions for spec in demo_topics(app.plan())}
    assert topics.keys() == {
        "weather",
        "flights",
        "delays",
        "departures",
        "arrivals",
        *(f"flights-{own}" for own in OWN),
    }
    assert topics["weather"] == topics["flights"] == PARTITIONS


def test_every_message_of_the_data_set_has_a_topic(january: Flights) -> None:
    topics = {spec.name for spec in demo_topics(app.plan())}
    first: list[Message] = list(events(200, year=january))
    assert {message.topic for message in first} <= topics
