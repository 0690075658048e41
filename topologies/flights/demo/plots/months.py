"""A time axis: days since a first one, with a tick for each month."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["month_ticks", "show_months"]


def show_months(axes: Axes, first: date, last: date, *, named: bool = True) -> None:
    """Let the axis run from ``first`` to ``last``, its ticks where months begin, with their names if ``named``."""
    ticks = dict(month_ticks(first, last))
    axes.set_xticks(list(ticks), list(ticks.values()) if named else [""] * len(ticks))
    axes.set_xlim(0, (last - first).days + 1)
    axes.tick_params(axis="x", length=3)
    axes.grid(axis="x")


def month_ticks(first: date, last: date) -> Iterator[tuple[int, str]]:
    """Yield days since ``first`` on which months begin, with the month's name; ``first`` itself is always one.

    >>> list(month_ticks(date(2013, 1, 20), date(2013, 3, 5)))
    [(0, '20 Jan'), (12, 'Feb'), (40, 'Mar')]
    """
    yield 0, first.strftime("%b" if first.day == 1 else "%-d %b")
    for number in range(1, (last - first).days + 1):
        day = first + timedelta(days=number)
        if day.day == 1:
            yield number, day.strftime("%b")
