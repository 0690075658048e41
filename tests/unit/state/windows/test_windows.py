"""Windows against a recomputation over all events, in any order and through any restart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, note, settings
from hypothesis import strategies as st

from streamserve import aggregates
from streamserve.state.windows import WindowedState
from tests.unit.state.windows.driving import SPECS, Arrival, arrivals, batches, found, histories, restarted, run
from tests.unit.state.windows.reference import AGGREGATES, Found, Recomputation, Row

quickly = settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])

ORDERLESS = {
    **AGGREGATES,
    "last": (aggregates.last(lambda row: row.value and row.time % 7), AGGREGATES["last"][1]),
}
"""Aggregates whose results do not depend on the order of arrival: of several values at one instant, the last is the one
that was processed last, so here values of one instant are equal."""


@pytest.mark.parametrize("kind", SPECS)
@quickly
@given(histories(), st.sets(st.integers(0, 8)))
def test_every_row_and_every_closed_window_agree_with_a_recomputation_through_restarts(
    kind: str, history: list[list[Row]], restarts: set[int]
) -> None:
    for aggregate in AGGREGATES:
        note(aggregate)
        check_history(kind, aggregate, history, restarts)


def check_history(kind: str, aggregate: str, history: list[list[Row]], restarts: set[int]) -> None:
    spec, (description, compute) = SPECS[kind], AGGREGATES[aggregate]
    state: WindowedState[Any] = WindowedState("w", spec, description)
    expected = Recomputation(spec, compute)
    log: dict[bytes, bytes | None] = {}
    closed: list[Found] = []
    late = 0
    for number, batch in enumerate(history):
        oldest = expected.watermark - spec.grace_ms
        answers = list(zip(batch, run(state, batch), strict=True))
        known = [(row.time >= oldest, expected.run(row)) for row in batch]
        assert [answer for row, answer in answers if row.time >= oldest] == [value for fair, value in known if fair]
        expected.watermark = max(expected.watermark, max(row.time for row in batch) - 5)
        closed += found(state.closed(expected.watermark))
        assert closed == expected.closed()
        if number in restarts:
            late += state.late
            state = restarted(state, spec, description, log)
    assert late + state.late == expected.late
    expected.watermark += 1_000
    assert closed + found(state.closed(expected.watermark)) == expected.closed()
    assert state.live_keys == 0
    log.update(zip(*state.take_changes(), strict=True))
    assert [key for key, value in log.items() if value is not None] == [b"clock"]


@pytest.mark.parametrize("kind", SPECS)
@settings(max_examples=100)
@given(arrivals())
def test_any_order_of_arrival_within_the_lateness_gives_the_same_closed_windows(
    kind: str, arriving: list[Arrival]
) -> None:
    """Closed windows and what is seen at any time from then on, bit for bit, through restarts."""
    for aggregate in ORDERLESS:
        note(aggregate)
        in_order = in_time_order(kind, aggregate, [arrival.row for arrival in arriving])
        assert as_it_comes(kind, aggregate, arriving) == in_order


def in_time_order(kind: str, aggregate: str, rows: list[Row]) -> tuple[list[Any], list[Found]]:
    """Return what is seen at the end, and what is closed after it, of rows that come in order, at once."""
    state: WindowedState[Any] = WindowedState("w", SPECS[kind], ORDERLESS[aggregate][0])
    run(state, sorted(rows, key=lambda row: row.time))
    return seen_and_closed(state, max(row.time for row in rows))


def as_it_comes(kind: str, aggregate: str, arriving: list[Arrival]) -> tuple[list[Any], list[Found]]:
    """Return the same of rows that come in any order, with time and restarts between their batches."""
    spec, (description, _) = SPECS[kind], ORDERLESS[aggregate]
    state: WindowedState[Any] = WindowedState("w", spec, description)
    log: dict[bytes, bytes | None] = {}
    closed: list[Found] = []
    newest = -1_000
    for rows, restarts in batches(arriving):
        run(state, rows)
        newest = max(newest, *(row.time for row in rows))
        closed += found(state.closed(newest))
        assert state.late == 0
        if restarts:
            state = restarted(state, spec, description, log)
    seen, rest = seen_and_closed(state, newest)
    return seen, closed + rest


def seen_and_closed(state: WindowedState[Any], newest: int) -> tuple[list[Any], list[Found]]:
    """Return what rows would see that are not late yet, and what is closed by the end of time."""
    closed = found(state.closed(newest))
    times = range(newest - state.spec.grace_ms, newest + state.spec.size_ms)
    seen = [state.at(key, time) for key in (b"a", b"b") for time in times]
    return seen, closed + found(state.closed(newest + 1_000))


@pytest.mark.parametrize("kind", SPECS)
@settings(max_examples=50)
@given(histories(), st.integers(1, 5))
def test_historymay_be_cut_anywhere(kind: str, history: list[list[Row]], size: int) -> None:
    description, _ = AGGREGATES["mean"]
    rows = [row for batch in history for row in batch]
    whole: WindowedState[Any] = WindowedState("w", SPECS[kind], description)
    parts: WindowedState[Any] = WindowedState("w", SPECS[kind], description)
    answers = [answer for start in range(0, len(rows), size) for answer in run(parts, rows[start : start + size])]
    assert answers == run(whole, rows)
