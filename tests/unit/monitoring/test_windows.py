from __future__ import annotations

import numpy as np

from streamserve.monitoring.rows import Rows
from streamserve.monitoring.statistics import MAX_CATEGORIES, Measures
from streamserve.monitoring.windows import OTHER, Window, Windows

MEASURES = Measures.of({"x": float}, {}, ["origin"])


def rows(times: list[int], origins: list[str | None] | None = None) -> Rows:
    texts: list[str | None] = origins or list[str | None](["EWR"]) * len(times)
    return Rows(np.array(times), np.arange(len(times), dtype=np.float64)[None, :], (texts,))


def counts(closed: list[tuple[int, Window]]) -> dict[int, int]:
    return {index: int(window.total.numeric.counts[0]) for index, window in closed}


def test_an_event_belongs_to_the_window_of_its_event_time() -> None:
    windows = Windows(MEASURES, 100)
    windows.update(rows([0, 99, 100, 250, -1]))
    assert counts(windows.close_all()) == {-1: 1, 0: 2, 1: 1, 2: 1}


def test_a_window_closes_when_the_watermark_reaches_its_end() -> None:
    windows = Windows(MEASURES, 100)
    windows.update(rows([50, 150]))
    assert windows.close(99) == []
    assert counts(windows.close(100)) == {0: 1}
    assert counts(windows.close(10_000)) == {1: 1}


def test_rows_of_a_closed_window_are_counted_as_late() -> None:
    windows = Windows(MEASURES, 100)
    windows.close(100)
    windows.update(rows([99, 100]))
    assert windows.late == 1
    assert counts(windows.close_all()) == {1: 1}


def test_a_watermark_that_goes_back_opens_nothing_again() -> None:
    windows = Windows(MEASURES, 100)
    windows.close(500)
    windows.close(100)
    assert windows.is_closed(4)
    assert not windows.closes_any(599)
    assert windows.closes_any(600)


def test_slices_hold_the_rows_of_their_value() -> None:
    windows = Windows(MEASURES, 100)
    windows.update(rows([1, 2, 3], ["EWR", None, "EWR"]))
    [(_, window)] = windows.close_all()
    slices = {name: int(part.numeric.counts[0]) for name, part in window.parts()}
    assert slices == {None: 3, "origin=EWR": 2, "origin=null": 1}


def test_slices_beyond_the_limit_go_together() -> None:
    windows = Windows(MEASURES, 100)
    values: list[str | None] = [str(number) for number in range(MAX_CATEGORIES + 9)]
    windows.update(rows([1] * len(values), values))
    windows.update(rows([1], ["0"]))
    [(_, window)] = windows.close_all()
    slices = window.slices["origin"]
    assert len(slices) == MAX_CATEGORIES + 1
    assert (slices[OTHER].numeric.rows, slices["0"].numeric.rows) == (9, 2)
