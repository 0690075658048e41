"""A second topology on the same topics: what airports and aircraft did, written when it is known for good.

It has no model. Departures are counted by hour and airport; flights are regrouped by aircraft and counted by session,
a working day of an aircraft as far as New York sees it.
"""

from __future__ import annotations

from streamserve import App, aggregates, session, tumbling
from topologies.flights.events import AircraftSession, Departure, DepartureHour, Flight

__all__ = ["GAP_MINUTES", "app"]

GAP_MINUTES = 360
"""A session of an aircraft ends when this long no flight of its own came up."""

app = App("activity")

departures = app.topic("departures", Departure, key="origin", event_time="at")
flights = app.topic("flights", Flight, key="origin", event_time="at")
hours = app.topic("departure-hours", DepartureHour, key="origin", event_time="end")
sessions = app.topic("aircraft-sessions", AircraftSession, key="tailnum", event_time="end")

hourly = app.aggregate("hourly", departures, aggregates.count(), window=tumbling("1h"), to=hours)
by_aircraft = flights.group_by("tailnum")
rotations = app.aggregate("rotations", by_aircraft, aggregates.count(), window=session(f"{GAP_MINUTES}m"), to=sessions)
