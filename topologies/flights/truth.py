"""What the stream's windows must come to, computed from the year's columns: an independent second way.

Nothing here knows of order, partitions or commits. Instants are minutes since the epoch, UTC.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from topologies.flights.source import Instants
from topologies.flights.year import Flights

__all__ = ["Windows", "aircraft_sessions", "closed_by", "departed_by", "departure_hours"]

Windows: TypeAlias = dict[tuple[str, int, int], int]
"""Counts by key, start and end."""

_HOUR = 60


def departed_by(flights: Flights, instant: int) -> Flights:
    """Return the flights as they were known at ``instant``: those that left later have no departure."""
    later = flights.departed > instant
    return replace(
        flights,
        departed=np.where(later, np.nan, flights.departed),
        departure_delay=np.where(later, np.nan, flights.departure_delay),
    )


def departure_hours(flights: Flights) -> Windows:
    """Count the departures of each origin in each hour that has any."""
    left = np.flatnonzero(~np.isnan(flights.departure_delay))
    hours = (flights.departed[left].astype(np.int64) // _HOUR * _HOUR).tolist()
    counts = Counter(zip(flights.origin[left].tolist(), hours, strict=True))
    return {(origin, hour, hour + _HOUR): count for (origin, hour), count in counts.items()}


def aircraft_sessions(flights: Flights, gap: int) -> Windows:
    """Count the flights of each aircraft in each of its sessions.

    A session is a run of events (an hour before each schedule) less than ``gap`` minutes apart; it ends ``gap`` minutes
    after its last. Flights without a tail number belong to none.
    """
    known = flights.tailnum != "NA"
    tails, at = flights.tailnum[known], flights.at[known]
    order = np.lexsort((at, tails))
    tails, at = tails[order], at[order]
    opens = np.flatnonzero((tails[1:] != tails[:-1]) | (np.diff(at) >= gap)) + 1
    return dict(_sessions(tails, at, np.concatenate(([0], opens, [len(at)])), gap))


def _sessions(
    tails: NDArray[np.str_], at: Instants, edges: NDArray[np.int64], gap: int
) -> Iterator[tuple[tuple[str, int, int], int]]:
    for first, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
        if end > first:
            yield (str(tails[first]), int(at[first]), int(at[end - 1]) + gap), end - first


def closed_by(windows: Windows, instant: int) -> Windows:
    """Return the windows that end by ``instant``."""
    return {window: count for window, count in windows.items() if window[2] <= instant}
