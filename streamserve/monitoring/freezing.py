"""Between the monitoring's objects and the plain state that a snapshot holds."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
import numpy as np

from streamserve.monitoring.drift import ColumnDetectors, DetectorTemplate, RunningDetector
from streamserve.monitoring.pickles import pickle_object, unpickle_object
from streamserve.monitoring.rows import Floats, Integers, Rows
from streamserve.monitoring.snapshots import (
    CategoryState,
    DetectorsState,
    DetectorState,
    GroupState,
    NumericState,
    RowsState,
    StatisticsState,
    WindowState,
    unreadable,
)
from streamserve.monitoring.statistics import CategoryCounts, Measures, NumericStatistics, WindowStatistics
from streamserve.monitoring.windows import Window, Windows

__all__ = ["dump_detectors", "dump_rows", "dump_windows", "fingerprint", "load_detectors", "load_windows"]


def fingerprint(measures: Measures) -> str:
    """Return what statistics were counted by, as text: columns, baseline bins and categories, slices."""
    numeric = {name: edges.tolist() for name, edges in zip(measures.numeric, measures.edges, strict=True)}
    categorical = dict(zip(measures.categorical, measures.known, strict=True))
    return msgspec.json.encode([numeric, categorical, measures.slices]).decode()


def dump_rows(rows: Rows) -> RowsState:
    """Return rows as state."""
    return RowsState(_bytes(rows.times), _bytes(rows.numbers), rows.texts)


def dump_windows(windows: Windows) -> dict[int, WindowState]:
    """Return the open windows as state."""
    return {index: _dump_window(window) for index, window in windows.open.items()}


def load_windows(state: GroupState, windows: Windows) -> list[Rows]:
    """Bring back the windows, which were counted by the same measures, and return the rows not yet counted.

    Raises:
        ConfigurationError: the state does not fit the measures.
    """
    windows.closed_through = state.closed_through
    windows.late = state.late
    try:
        for index, window in state.windows.items():
            _load_window(window, windows.window(index), windows.measures)
        return [_load_rows(state.rows, windows.measures)] if state.rows else []
    except (ValueError, KeyError) as error:
        raise unreadable() from error


def _load_rows(state: RowsState, measures: Measures) -> Rows:
    size = len(state.times) // 8
    texts = tuple(state.texts)
    if [len(values) for values in texts] != [size] * len(measures.layout.text):
        raise ValueError("columns of unequal length")
    return Rows(_integers(state.times, size), _floats(state.numbers, len(measures.numeric), size), texts)


def _dump_window(window: Window) -> WindowState:
    slices = {
        column: {value: _dump_statistics(statistics) for value, statistics in slices.items()}
        for column, slices in window.slices.items()
    }
    return WindowState(_dump_statistics(window.total), slices, window.alarms)


def _load_window(state: WindowState, window: Window, measures: Measures) -> None:
    _load_statistics(state.total, window.total)
    for column, slices in state.slices.items():
        for value, statistics in slices.items():
            window.slices[column][value] = WindowStatistics(measures, quantiles=False)
            _load_statistics(statistics, window.slices[column][value])
    window.alarms = state.alarms


def _dump_statistics(statistics: WindowStatistics) -> StatisticsState:
    counts = tuple(
        CategoryState(category.counts, category.room, category.other, category.nulls)
        for category in statistics.categories
    )
    return StatisticsState(_dump_numeric(statistics.numeric), counts)


def _load_statistics(state: StatisticsState, statistics: WindowStatistics) -> None:
    _load_numeric(state.numeric, statistics.numeric)
    for source, target in zip(state.categories, statistics.categories, strict=True):
        _load_category(source, target)


def _load_category(state: CategoryState, category: CategoryCounts) -> None:
    category.counts, category.room = state.counts, state.room
    category.other, category.nulls = state.other, state.nulls


def _dump_numeric(numeric: NumericStatistics) -> NumericState:
    moments = np.stack([numeric.means, numeric.squares, numeric.minima, numeric.maxima])
    sketch = numeric.sketch
    return NumericState(
        rows=numeric.rows,
        counts=_bytes(numeric.counts),
        moments=_bytes(moments),
        histograms=tuple(_bytes(histogram) for histogram in numeric.histograms),
        pending=_bytes(sketch.pending) if sketch else None,
        levels={level: _bytes(values) for level, values in sketch.levels.items()} if sketch else {},
        units=sketch.units if sketch else 0,
    )


def _load_numeric(state: NumericState, numeric: NumericStatistics) -> None:
    columns = len(numeric.edges)
    numeric.rows = state.rows
    numeric.counts = _integers(state.counts, columns)
    numeric.means, numeric.squares, numeric.minima, numeric.maxima = _floats(state.moments, 4, columns)
    numeric.histograms = [
        _integers(histogram, len(inner) + 1) for histogram, inner in zip(state.histograms, numeric.edges, strict=True)
    ]
    if numeric.sketch is not None and state.pending is not None:
        numeric.sketch.pending = _floats(state.pending, columns)
        numeric.sketch.levels = {level: _floats(values, columns) for level, values in state.levels.items()}
        numeric.sketch.units = state.units


def dump_detectors(columns: dict[str, ColumnDetectors]) -> dict[str, DetectorsState]:
    """Return the detectors of each column as state."""
    return {name: DetectorsState(column.seen, _dump_running(column.running)) for name, column in columns.items()}


def _dump_running(running: Sequence[RunningDetector]) -> dict[str, DetectorState]:
    return {
        one.template.name: DetectorState(one.template.configuration, one.alarms, pickle_object(one.detector))
        for one in running
    }


def load_detectors(
    state: DetectorsState | None, column: str, templates: Sequence[DetectorTemplate]
) -> tuple[ColumnDetectors, list[str]]:
    """Return the detectors of a column, and the names of those that start afresh since their configuration changed."""
    if state is None:
        return ColumnDetectors.start(column, templates), [template.name for template in templates]
    running = [_load_running(state.detectors.get(template.name), column, template) for template in templates]
    fresh = [one.template.name for one, goes_on in running if not goes_on]
    return ColumnDetectors(column, [one for one, _ in running], state.seen), fresh


def _load_running(state: DetectorState | None, column: str, template: DetectorTemplate) -> tuple[RunningDetector, bool]:
    if state is None or state.configuration != template.configuration:
        return RunningDetector(template, template.start(column)), False
    detector = unpickle_object(state.pickled, {type(template.detector).__module__})
    if type(detector) is not type(template.detector):
        raise unreadable()
    return RunningDetector(template, detector, state.alarms), True


def _bytes(array: np.ndarray[Any, Any]) -> bytes:
    return array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()


def _floats(data: bytes, rows: int, columns: int | None = None) -> Floats:
    width = columns if columns is not None else len(data) // 8 // max(rows, 1)
    return np.frombuffer(data, dtype="<f8").astype(np.float64).reshape(rows, width)


def _integers(data: bytes, size: int) -> Integers:
    return np.frombuffer(data, dtype="<i8").astype(np.int64).reshape(size)
