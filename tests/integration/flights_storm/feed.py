"""The year as it goes in: what the demo replays, and labels that come twice, too late, too early or for no flight.

The data set's own labels come once and in time, or never. Every status that a label join knows has to occur.
"""

from __future__ import annotations

from collections.abc import Iterator
from heapq import merge

import msgspec
import numpy as np

from streamserve.records import to_datetime
from topologies.flights.dataset import Message, events
from topologies.flights.year import Flights

__all__ = ["feed", "odd_labels"]

_EVERY = 97
"""One labelled flight in so many gets a second label, another one an early one, another one a namesake."""
_LATE_EVERY = 5
"""One flight without label in so many gets one when it has been given up."""
_MINUTE_MS = 60_000
_REPEATED_AFTER = 10
_EARLY_BY = 30
_LATE_AFTER = 3 * 24 * 60 + 60
"""Minutes; predictions are given up after three days."""
_ODD_DELAY = 99


def feed(year: Flights, count: int) -> Iterator[Message]:
    """Yield the first ``count`` flights and all that belongs to them in the order of event time."""
    regular = events(None if count == len(year) else count, year=year)
    return merge(regular, odd_labels(year, count), key=lambda message: message.timestamp_ms)


def odd_labels(year: Flights, count: int) -> list[Message]:
    """Return the labels that the year has not got, in the order of their times; none is later than the last flight."""
    some = year.take(np.arange(count))
    last = int(some.at[-1])
    labelled = np.flatnonzero(~np.isnan(some.arrival_delay))
    never = np.flatnonzero(np.isnan(some.arrival_delay))[::_LATE_EVERY]
    ids = some.flight_id
    made = [(ids[row], int(some.arrived[row]) + _REPEATED_AFTER, row) for row in labelled[::_EVERY]]
    made += [(ids[row], int(some.at[row]) - _EARLY_BY, row) for row in labelled[1::_EVERY]]
    made += [(f"{ids[row]}-X", int(some.at[row]), row) for row in labelled[2::_EVERY]]
    made += [(ids[row], int(some.at[row]) + _LATE_AFTER, row) for row in never]
    kept = sorted((one for one in made if one[1] <= last), key=lambda one: (one[1], str(one[0])))
    return [_label(str(flight), at, str(some.origin[row])) for flight, at, row in kept]


def _label(flight: str, at: int, origin: str) -> Message:
    at_ms = at * _MINUTE_MS
    value = {"flight_id": flight, "origin": origin, "at": to_datetime(at_ms), "delay": _ODD_DELAY}
    return Message("arrivals", flight.encode(), msgspec.json.encode(value), at_ms)
