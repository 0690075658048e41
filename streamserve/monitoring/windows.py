"""Tumbling event-time windows over a stream of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from streamserve.monitoring.rows import Rows
from streamserve.monitoring.statistics import MAX_CATEGORIES, Measures, WindowStatistics

__all__ = ["OTHER", "Window", "Windows"]

OTHER = "other"
"""The slice of values beyond the limit of a slice column."""

_MISSING = "null"

_NEVER = -(2**62)
"""Before every window there is."""


class Window:
    """The statistics of one window: of all rows, and by slice (``"column=value"``)."""

    __slots__ = ("alarms", "slices", "total")

    def __init__(self, measures: Measures) -> None:
        self.total = WindowStatistics(measures, quantiles=True)
        self.slices: dict[str, dict[str, WindowStatistics]] = {column: {} for column in measures.slices}
        self.alarms: dict[str, dict[str, int]] = {}

    def parts(self) -> Iterator[tuple[str | None, WindowStatistics]]:
        """Yield each slice's name, ``None`` for all rows, with its statistics."""
        yield None, self.total
        for column, slices in self.slices.items():
            for value, statistics in slices.items():
                yield f"{column}={value}", statistics

    def update(self, rows: Rows, measures: Measures) -> None:
        """Count one or more rows."""
        self.total.update(rows)
        texts = measures.layout.text if measures.slices else ()
        for column in measures.slices:
            self._update_slices(rows, rows.texts[texts.index(column)], self.slices[column], measures)

    def _update_slices(
        self,
        rows: Rows,
        values: Sequence[str | None],
        slices: dict[str, WindowStatistics],
        measures: Measures,
    ) -> None:
        for value, positions in _group(values, slices).items():
            if value not in slices:
                slices[value] = WindowStatistics(measures, quantiles=False)
            slices[value].update(rows.pick(np.asarray(positions, dtype=np.intp)))


def _group(values: Sequence[str | None], taken: dict[str, WindowStatistics]) -> dict[str, list[int]]:
    """Return positions by value; values that are new when ``MAX_CATEGORIES`` are taken go together as ``OTHER``."""
    groups: dict[str, list[int]] = {}
    names = set(taken)
    for position, value in enumerate(values):
        name = _MISSING if value is None else value
        if name not in names and len(names) >= MAX_CATEGORIES:
            name = OTHER
        names.add(name)
        groups.setdefault(name, []).append(position)
    return groups


class Windows:
    """The open windows of one partition group and model version.

    An event belongs to window ``event time // length``. A window closes when the watermark reaches its end; rows that
    come afterwards are counted in ``late``.
    """

    __slots__ = ("changed", "closed_through", "late", "length_ms", "measures", "open")

    def __init__(self, measures: Measures, length_ms: int, closed_through: int = _NEVER) -> None:
        self.measures = measures
        self.length_ms = length_ms
        self.closed_through = closed_through
        self.late = 0
        self.open: dict[int, Window] = {}
        self.changed = True
        """Whether what is open has changed since this was last set to ``False``."""

    def is_closed(self, index: int) -> bool:
        """Tell whether the watermark has passed the end of window ``index``."""
        return index <= self.closed_through

    def window(self, index: int) -> Window:
        """Return the open window ``index``, a new one where there was none."""
        if index not in self.open:
            self.open[index] = Window(self.measures)
            self.changed = True
        return self.open[index]

    def alarm(self, index: int, column: str, detector: str) -> None:
        """Count an alarm in window ``index``, unless it is closed."""
        if not self.is_closed(index):
            counts = self.window(index).alarms.setdefault(column, {})
            counts[detector] = counts.get(detector, 0) + 1
            self.changed = True

    def update(self, rows: Rows) -> None:
        """Count one or more rows in their windows."""
        indices = rows.times // self.length_ms
        first, last = int(indices.min()), int(indices.max())
        if first == last:
            self._count(first, rows)
            return
        for index in np.unique(indices).tolist():
            self._count(index, rows.pick(np.flatnonzero(indices == index)))

    def _count(self, index: int, rows: Rows) -> None:
        if self.is_closed(index):
            self.late += len(rows)
        else:
            self.window(index).update(rows, self.measures)
            self.changed = True

    def closes_any(self, watermark_ms: int) -> bool:
        """Tell whether ``watermark_ms`` ends a window that was not closed before."""
        return not self.is_closed(watermark_ms // self.length_ms - 1)

    def close(self, watermark_ms: int) -> list[tuple[int, Window]]:
        """Close the windows that end at or before ``watermark_ms`` and return them with their indices, oldest first."""
        self.closed_through = max(watermark_ms // self.length_ms - 1, self.closed_through)
        return self._take(index for index in sorted(self.open) if self.is_closed(index))

    def close_all(self) -> list[tuple[int, Window]]:
        """Take all open windows, oldest first, without regard to the watermark."""
        return self._take(sorted(self.open))

    def _take(self, indices: Sequence[int] | Iterator[int]) -> list[tuple[int, Window]]:
        self.changed = True
        return [(index, self.open.pop(index)) for index in list(indices)]
