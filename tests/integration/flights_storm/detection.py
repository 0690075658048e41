"""What River's detectors must find, fed value by value in River's own way, in the order of the log."""

from __future__ import annotations

import math
import pickle
from collections.abc import Iterator, Mapping
from typing import NamedTuple, TypeAlias

from river.drift import ADWIN, PageHinkley

from tests.integration.flights_storm.scored import ScoredRows

__all__ = ["COLUMNS", "Alarm", "Running", "State", "canonical"]

COLUMNS = ("probability", "route_late_share")
"""What the detectors of the app see."""

State: TypeAlias = dict[str, dict[str, tuple[int, dict[str, float]]]]
"""By column and detector: how many alarms it has raised, and its public figures."""

_ADWIN_FIGURES = ("estimation", "n_detections", "total", "variance", "width")


class Alarm(NamedTuple):
    """An alarm: of which column and detector, at which row and time, and how many there were with it."""

    column: str
    detector: str
    row: int
    time_ms: int
    total: int


class Running:
    """The app's detectors of one partition, going on row by row.

    >>> import numpy as np
    >>> column = np.array([0.1, np.nan])
    >>> running = Running(ScoredRows(np.array([0, 1]), {"probability": column, "route_late_share": column}, {}))
    >>> running.step(), running.step(), running.seen["probability"]
    ([], [], 1)
    """

    def __init__(self, rows: ScoredRows) -> None:
        self.row = 0
        self.seen: dict[str, int] = dict.fromkeys(COLUMNS, 0)
        self.detectors: Mapping[str, Mapping[str, ADWIN | PageHinkley]] = {
            column: {
                "ADWIN": ADWIN(min_window_length=2000),
                "PageHinkley": PageHinkley(min_instances=1000, threshold=300),
            }
            for column in COLUMNS
        }
        self.alarms = {(column, name): 0 for column, named in self.detectors.items() for name in named}
        self._times: list[int] = rows.times_ms.tolist()
        self._values: dict[str, list[float]] = {column: rows.numbers[column].tolist() for column in COLUMNS}

    def __len__(self) -> int:
        return len(self._times)

    def step(self) -> list[Alarm]:
        """Feed the next row; return the alarms that it sets off."""
        raised = [alarm for column in COLUMNS for alarm in self._feed(column, self._values[column][self.row])]
        self.row += 1
        return raised

    def _feed(self, column: str, value: float) -> Iterator[Alarm]:
        if math.isnan(value):
            return
        self.seen[column] += 1
        for name, detector in self.detectors[column].items():
            detector.update(value)
            if detector.drift_detected:
                self.alarms[column, name] += 1
                yield Alarm(column, name, self.row, self._times[self.row], self.alarms[column, name])

    def state(self) -> State:
        """Return the alarms so far and the figures as they stand."""
        return {
            column: {name: (self.alarms[column, name], _figures(detector)) for name, detector in named.items()}
            for column, named in self.detectors.items()
        }


def canonical(pickled: bytes) -> bytes:
    """Return a detector's pickle with what is equal in it made identical, so that equal states are equal bytes."""
    return pickle.dumps(pickle.loads(pickled))  # noqa: S301 - written by the app under test


def _figures(detector: ADWIN | PageHinkley) -> dict[str, float]:
    if isinstance(detector, PageHinkley):
        return {}
    return {name: float(getattr(detector, name)) for name in _ADWIN_FIGURES}
