"""How late an airport runs: departures of the last three hours, as a flight's event sees them.

An independent computation, by sums over sorted columns, of what the engine's windows answer: model rows are made of it,
and the windows of a run are held against it.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from topologies.flights.source import Floats, Instants, Strings
from topologies.flights.year import Flights, joined

__all__ = ["ROLLING_INPUTS", "SIZE_MINUTES", "STEP_MINUTES", "departed_before", "rolling_delay", "rolling_rows"]

SIZE_MINUTES = 180
STEP_MINUTES = 15

ROLLING_INPUTS = ("origin_delay", "carrier_delay")
"""Mean departure delay at the flight's origin, and of its carrier there: minutes."""


def rolling_rows(flights: Flights) -> dict[str, Floats]:
    """Return both rolling delays for each flight at its event time, NaN where nothing left in the last three hours.

    ``flights`` is the whole year or its beginning: departures come from it.
    """
    carriers = joined("-", flights.origin, flights.carrier)
    return {
        "origin_delay": rolling_delay(flights, flights.origin),
        "carrier_delay": rolling_delay(flights, carriers),
    }


def rolling_delay(flights: Flights, keys: Strings) -> Floats:
    """Return for each flight the mean delay in minutes of the departures of its key that its event sees.

    A hopping window of ``SIZE_MINUTES`` by ``STEP_MINUTES`` is cut into steps from the epoch on. The event sees the
    twelve latest of them, its own as far as it has come. A departure at the event's own minute is seen, because the
    topic of departures goes first. Sums of whole minutes are exact, so the mean is rounded once.
    """
    found = np.full(len(flights), np.nan)
    for here, sums, departed in _by_key(flights, keys):
        since, until = departed_before(departed, flights.at[here])
        count = until - since
        seen = count > 0
        found[here[seen]] = (sums[until] - sums[since])[seen] / count[seen]
    return found


def departed_before(departed: Instants, at: Instants) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the range of ``departed``, which is sorted, that lies in the window of each event.

    >>> since, until = departed_before(np.array([0, 14, 15, 180, 194, 195]), np.array([14, 194, 195]))
    >>> since.tolist(), until.tolist()
    ([0, 2, 3], [2, 5, 6])
    """
    opens = at // STEP_MINUTES * STEP_MINUTES + STEP_MINUTES - SIZE_MINUTES
    return np.searchsorted(departed, opens, side="left"), np.searchsorted(departed, at, side="right")


def _by_key(flights: Flights, keys: Strings) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64], Instants]]:
    """Yield for each key its flights' rows, and its departures: running sums of their delays, and their instants."""
    order = np.argsort(keys, kind="stable")
    firsts = np.unique(keys[order], return_index=True)[1]
    for here in np.split(order, firsts[1:]):
        left = here[~np.isnan(flights.departure_delay[here])]
        left = left[np.argsort(flights.departed[left], kind="stable")]
        delays = flights.departure_delay[left].astype(np.int64)
        yield here, np.concatenate(([0], np.cumsum(delays))), flights.departed[left].astype(np.int64)
