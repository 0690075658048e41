"""Wall clocks of airports, for whole columns of instants at once.

Instants are whole minutes since the epoch in UTC. Offsets are tabled by UTC hour over 2013 and its eves: every zone
here changes its offset on a whole UTC hour.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from zoneinfo import ZoneInfo

import numpy as np
from numpy.typing import NDArray

from topologies.flights.source import Floats, Instants

__all__ = ["DAY_MINUTES", "NEW_YORK", "Clocks", "clock_minutes"]

DAY_MINUTES = 1440
NEW_YORK = "America/New_York"

_FIRST = datetime(2012, 12, 30, tzinfo=UTC)
_HOURS = 24 * 370
_FIRST_HOUR = int(_FIRST.timestamp()) // 3600


def clock_minutes(hhmm: Floats) -> Floats:
    """Return minutes after midnight of clock readings such as 517 (05:17); 2400 is midnight.

    >>> clock_minutes(np.array([517.0, 2400.0])).tolist()
    [317.0, 0.0]
    """
    return (hhmm // 100 * 60 + hhmm % 100) % DAY_MINUTES


class Clocks:
    """The local clock of each row, by the name of its time zone.

    >>> clocks = Clocks([NEW_YORK])
    >>> int(clocks.local(np.array([0]) + 24 * 60 * 15706)[0]) % DAY_MINUTES // 60  # midnight UTC on 2013-01-01
    19
    """

    def __init__(self, zones: Sequence[str]) -> None:
        names, self._zone = np.unique(np.array(zones), return_inverse=True)
        self._offsets = np.stack([_hourly_offsets(str(name)) for name in names])

    def local(self, instants: Instants) -> Instants:
        """Return what the clocks show at ``instants``, as minutes since 1970-01-01 00:00 of that clock."""
        return instants + self._offset(instants)

    def next_showing(self, after: Floats, clock: Floats) -> Floats:
        """Return the first instant later than ``after`` at which each row's clock shows ``clock`` minutes.

        NaN where either is. A reading that spring's change skips is taken as if the clock had not changed. One day a
        year this may be off: after an instant within autumn's repeated hour, a reading of that hour is taken to be the
        next day's.
        """
        known = ~(np.isnan(after) | np.isnan(clock))
        start = np.where(known, after, _FIRST_HOUR * 60).astype(np.int64)
        reading = np.where(known, clock, 0).astype(np.int64)
        wait = (reading - self.local(start)) % DAY_MINUTES
        unchanged = start + np.where(wait == 0, DAY_MINUTES, wait)
        end = unchanged - (self._offset(unchanged) - self._offset(start))
        shown = self.local(end) % DAY_MINUTES == reading
        return np.where(known, np.where(shown, end, unchanged), np.nan)

    def _offset(self, instants: Instants) -> NDArray[np.int64]:
        return self._offsets[self._zone, instants // 60 - _FIRST_HOUR]


@cache
def _hourly_offsets(zone: str) -> NDArray[np.int64]:
    """Return minutes east of UTC for each hour from ``_FIRST`` on."""
    info = ZoneInfo(zone)
    hours = ((_FIRST + timedelta(hours=hour)).astimezone(info) for hour in range(_HOURS))
    return np.array([(hour.utcoffset() or timedelta()) // timedelta(minutes=1) for hour in hours], dtype=np.int64)
