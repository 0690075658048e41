"""Times of day and week at which something is due, as cron writes them."""

from __future__ import annotations

from dataclasses import dataclass
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from streamserve.errors import PlanError
from streamserve.records import to_datetime, to_epoch_ms


@dataclass(frozen=True, slots=True)
class Crontab:
    """Five fields (minute, hour, day of month, month, day of week) in the clock time of ``timezone``, an IANA name.

    Where clocks are put forward or back, a time of day that is skipped comes at once after the gap, one that is
    repeated comes once, as in Debian's cron; steps such as ``*/5`` go on in real time.

    >>> from datetime import datetime
    >>> nightly = Crontab("30 2 * * *", "Europe/Berlin")
    >>> str(to_datetime(nightly.after(to_epoch_ms(datetime.fromisoformat("2024-03-30T12:00:00+00:00")))))
    '2024-03-31 01:00:00+00:00'

    Raises:
        PlanError: the expression or the time zone is none, or no time ever matches.
    """

    expression: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        self.after(0)

    def after(self, now_ms: int) -> int:
        """Return the first time after ``now_ms``; both are milliseconds since the epoch, UTC."""
        try:
            zone = ZoneInfo(self.timezone)
        except (ZoneInfoNotFoundError, ValueError, OSError) as error:
            raise PlanError(
                f"crontab: no time zone {self.timezone!r}: write a name such as 'Europe/Berlin'; where the system has"
                " no time zones, install the package tzdata"
            ) from error
        try:
            minute, hour, day, month, weekday = self.expression.split()
            times = CronSim(f"{minute} {hour} {day} {month} {weekday}", to_datetime(now_ms).astimezone(zone))
            return to_epoch_ms(next(times))
        except (CronSimError, StopIteration, ValueError) as error:
            raise PlanError(
                f"crontab {self.expression!r} ({error or 'no such time ever comes'}): write five fields, minute, hour,"
                " day of month, month and day of week, for example '*/5 * * * *'"
            ) from error
