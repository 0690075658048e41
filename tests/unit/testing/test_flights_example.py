"""The flights app as the interface's documentation writes it, on the harness."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import cast

from streamserve.testing import Harness
from tests.typing import flights_example as example

NOON = datetime(2013, 1, 1, 12, tzinfo=UTC)


def test_a_flight_is_judged_by_the_delays_of_its_origin_up_to_its_own_moment() -> None:
    departures = [
        example.Movement(
            flight_id=f"d{minutes}", origin="JFK", at=NOON + timedelta(minutes=minutes), delay=minutes / -100
        )
        for minutes in (-30, -10, 10)
    ]
    flights = [example.Flight(flight_id=origin, origin=origin, tailnum=None, at=NOON) for origin in ("JFK", "LGA")]
    with Harness(
        example.app,
        features={"delay_v1": lambda _: {"wind_speed": 5.0}},
        models={"delay": lambda row: {"label": True, "probability": cast("float | None", row["origin_delay"]) or 0.0}},
    ) as harness:
        with harness.together():
            harness.send(example.departures, *departures)
            harness.send(example.flights, *flights)
        harness.advance("1h")
        delays = {delay.value.flight_id: delay.value.probability for delay in harness.read(example.delays)}
        assert harness.dead_letters() == []
    assert delays == {"JFK": 0.2, "LGA": 0.0}
