"""Crontabs: times of day in a time zone, its changes of clocks included."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamserve.dataflow.planning.crontab import Crontab
from streamserve.errors import PlanError
from streamserve.records import to_datetime, to_epoch_ms


def times(crontab: Crontab, after: datetime, count: int) -> list[datetime]:
    """Return the first times of ``crontab`` after ``after``."""
    found: list[datetime] = []
    now_ms = to_epoch_ms(after)
    for _ in range(count):
        now_ms = crontab.after(now_ms)
        found.append(to_datetime(now_ms))
    return found


def test_a_time_is_strictly_after_the_one_before() -> None:
    start = datetime(2024, 1, 1, 10, 5, tzinfo=UTC)
    assert times(Crontab("*/5 * * * *"), start, 2) == [start.replace(minute=10), start.replace(minute=15)]


def test_weekdays_and_names_are_understood() -> None:
    [monday] = times(Crontab("0 8 * * mon"), datetime(2024, 1, 2, tzinfo=UTC), 1)
    assert monday == datetime(2024, 1, 8, 8, tzinfo=UTC)


def test_a_time_that_the_clocks_skip_comes_after_the_gap() -> None:
    found = times(Crontab("30 2 * * *", "Europe/Berlin"), datetime(2024, 3, 30, 12, tzinfo=UTC), 2)
    assert found == [datetime(2024, 3, 31, 1, tzinfo=UTC), datetime(2024, 4, 1, 0, 30, tzinfo=UTC)]


def test_a_time_that_the_clocks_repeat_comes_once() -> None:
    found = times(Crontab("30 2 * * *", "Europe/Berlin"), datetime(2024, 10, 26, 12, tzinfo=UTC), 2)
    assert found == [datetime(2024, 10, 27, 0, 30, tzinfo=UTC), datetime(2024, 10, 28, 1, 30, tzinfo=UTC)]


def test_steps_go_on_in_real_time_when_clocks_are_put_back() -> None:
    start = datetime(2024, 10, 27, 0, 0, tzinfo=UTC)
    found = times(Crontab("*/30 * * * *", "Europe/Berlin"), start, 4)
    assert [(time - start).total_seconds() / 60 for time in found] == [30, 60, 90, 120]


@pytest.mark.parametrize("expression", ["", "61 * * * *", "* * * *", "* * * * * *", "0 0 30 2 *", "now"])
def test_what_is_no_crontab_is_refused_with_an_example(expression: str) -> None:
    with pytest.raises(PlanError, match="for example"):
        Crontab(expression)


@pytest.mark.parametrize("timezone", ["Europe/Nowhere", "", "../etc/passwd", "Europe"])
def test_what_is_no_time_zone_is_refused(timezone: str) -> None:
    with pytest.raises(PlanError, match="Europe/Berlin"):
        Crontab("* * * * *", timezone)
