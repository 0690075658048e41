"""Windows and outcomes of the year's first days, run by the engine in memory, against the independent computation."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

import msgspec
import numpy as np
import pytest

from streamserve import Topic
from streamserve.records import Scalar, to_datetime
from streamserve.testing import Harness
from streamserve.testing.harness import Fault
from topologies.flights import activity, app
from topologies.flights.dataset import Message, events, labels
from topologies.flights.demo.outcomes import LabelOutcome, Outcomes
from topologies.flights.rolling import ROLLING_INPUTS
from topologies.flights.rows import NUMBER_INPUTS, Rows
from topologies.flights.training import CHAMPION
from topologies.flights.truth import Windows, aircraft_sessions, closed_by, departed_by, departure_hours
from topologies.flights.year import Flights

T = TypeVar("T")

FLIGHTS = 4_000
CHUNK = 3_000
FAULTS: tuple[Fault | None, ...] = (None, "crash", "rebalance")


class Logged(msgspec.Struct):
    """A logged feature row."""

    source_partition: int
    source_offset: int
    features: dict[str, float | None]


class Closed(msgspec.Struct):
    """A closed window of either kind."""

    start: datetime
    end: datetime
    value: int
    origin: str = ""
    tailnum: str = ""


@pytest.fixture(scope="module")
def messages(year: Flights) -> list[Message]:
    return list(events(FLIGHTS, year=year))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_flights_row_has_the_rolling_delays_of_its_moment_and_its_prediction_meets_its_arrival(
    year: Flights, rows: Rows, messages: Sequence[Message], fault: Fault | None
) -> None:
    with Harness(app.app, partitions=4, features={"delay_v1": nothing}) as harness:
        replay(harness, [app.weather, app.departures, app.flights, app.arrivals], messages, fault)
        harness.advance("1m")
        flights = {(record.partition, record.offset): record.value.flight_id for record in harness.read(app.flights)}
        logged = [decoded(record.value(), Logged) for record in harness.read_bytes("flights-features")]
        delays = [record.value for record in harness.read(app.delays)]
        judged = [decoded(record.value(), LabelOutcome) for record in harness.read_bytes("flights-performance")]
    assert {delay.version for delay in delays} == {CHAMPION}
    landed = {message.key.decode() for message in messages if message.topic == "arrivals"}
    known = {flight: late for flight, late in labels(year).items() if flight in landed}
    outcomes = Outcomes.of(judged)
    assert outcomes.truths == known
    assert outcomes.count_mismatches({delay.flight_id: delay.probability for delay in delays}, known) == 0
    seen = {
        flights[row.source_partition, row.source_offset]: [row.features[name] for name in ROLLING_INPUTS]
        for row in logged
    }
    columns = np.stack([rows[name][:FLIGHTS] for name in ROLLING_INPUTS], axis=1).tolist()
    expected = [[None if value != value else value for value in row] for row in columns]  # noqa: PLR0124
    assert len(logged) == len(seen) == FLIGHTS
    assert seen == dict(zip(year.flight_id[:FLIGHTS].tolist(), expected, strict=True))


@pytest.mark.parametrize("fault", FAULTS)
def test_closed_windows_are_what_the_columns_of_the_year_say(
    year: Flights, messages: Sequence[Message], fault: Fault | None
) -> None:
    with Harness(activity.app, partitions=4) as harness:
        replay(harness, [activity.departures, activity.flights], messages, fault)
        harness.advance("1m")
        hours = closed_windows(harness, activity.hours, "origin")
        sessions = closed_windows(harness, activity.sessions, "tailnum")
    some = year.take(np.arange(FLIGHTS))
    last = int(some.at[-1])
    hours_expected = departure_hours(departed_by(some, last))
    sessions_expected = aircraft_sessions(some, activity.GAP_MINUTES)
    day_before = last - 1_440
    assert hours.items() <= hours_expected.items()
    assert closed_by(hours, day_before) == closed_by(hours_expected, day_before) != {}
    assert sessions.items() <= sessions_expected.items()
    assert closed_by(sessions, day_before) == closed_by(sessions_expected, day_before) != {}


def nothing(event: Mapping[str, Scalar]) -> Mapping[str, Scalar]:
    """Stand in for Feast: all that it would know is missing."""
    return dict.fromkeys(set(NUMBER_INPUTS) - event.keys())


def replay(
    harness: Harness, topics: Sequence[Topic[Any, Any]], messages: Sequence[Message], fault: Fault | None
) -> None:
    """Send what belongs to ``topics`` in order of time, chunk by chunk, with a fault in each but the first."""
    by_name = {topic.name: topic for topic in topics}
    for number, chunk in enumerate(chunks(messages)):
        if fault is not None and number:
            harness.fault(fault)
        with harness.together():
            for message in chunk:
                if (topic := by_name.get(message.topic)) is not None:
                    at = to_datetime(message.timestamp_ms)
                    harness.send_bytes(topic, message.value, key=message.key, timestamp=at)


def chunks(messages: Sequence[Message]) -> Iterator[Sequence[Message]]:
    for start in range(0, len(messages), CHUNK):
        yield messages[start : start + CHUNK]


def closed_windows(harness: Harness, topic: Topic[Any, Any], key: str) -> Windows:
    """Return the windows that were written, each of them once."""
    found = [decoded(record.value(), Closed) for record in harness.read_bytes(topic.name)]
    windows = {(getattr(each, key), minute(each.start), minute(each.end)): each.value for each in found}
    assert len(windows) == len(found)
    return windows


def decoded(value: bytes | None, kind: type[T]) -> T:
    return msgspec.json.decode(value or b"", type=kind)


def minute(instant: datetime) -> int:
    return int(instant.timestamp()) // 60
