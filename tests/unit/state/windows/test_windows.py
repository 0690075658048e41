"""Windows against a recomputation over all events, in any order and through any restart."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from streamserve.state.windows import WindowedState
from tests.unit.state.windows.driving import SPECS, found, histories, restarted, run
from tests.unit.state.windows.reference import AGGREGATES, Found, Recomputation, Row

quickly = settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@pytest.mark.parametrize("aggregate", AGGREGATES)
@pytest.mark.parametrize("kind", SPECS)
@quickly
@given(histories(), st.sets(st.integers(0, 8)))
def test_every_row_and_every_closed_window_agree_with_a_recomputation_through_restarts(
    kind: str, aggregate: str, batches: list[list[Row]], restarts: set[int]
) -> None:
    spec, (description, compute) = SPECS[kind], AGGREGATES[aggregate]
    state: WindowedState[Any] = WindowedState("w", spec, description)
    expected = Recomputation(spec, compute)
    log: dict[bytes, bytes | None] = {}
    closed: list[Found] = []
    late = 0
    for number, batch in enumerate(batches):
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


@pytest.mark.parametrize("kind", ["tumbling", "hopping", "session"])
@pytest.mark.parametrize("aggregate", ["count", "sum", "mean", "var", "min", "max", "distinct", "quantile"])
@quickly
@given(histories(jitter=0), st.randoms(use_true_random=False))
def test_any_order_of_arrival_within_the_lateness_gives_the_same_closed_windows(
    kind: str, aggregate: str, batches: list[list[Row]], chance: Any
) -> None:
    spec, (description, _) = SPECS[kind], AGGREGATES[aggregate]
    rows = [row for batch in batches for row in batch]
    in_order: WindowedState[Any] = WindowedState("w", spec, description)
    shuffled: WindowedState[Any] = WindowedState("w", spec, description)
    run(in_order, rows)
    closed: list[Found] = []
    watermark = -1_000
    for row in sorted(rows, key=lambda row: row.time + chance.randint(0, 7)):
        run(shuffled, [row])
        watermark = max(watermark, row.time)
        closed += found(shuffled.closed(watermark))
    assert shuffled.late == 0
    assert closed + found(shuffled.closed(watermark + 1_000)) == found(in_order.closed(watermark + 1_000))


@pytest.mark.parametrize("kind", SPECS)
@quickly
@given(histories(), st.integers(1, 5))
def test_batches_may_be_cut_anywhere(kind: str, batches: list[list[Row]], size: int) -> None:
    description, _ = AGGREGATES["mean"]
    rows = [row for batch in batches for row in batch]
    whole: WindowedState[Any] = WindowedState("w", SPECS[kind], description)
    parts: WindowedState[Any] = WindowedState("w", SPECS[kind], description)
    answers = [answer for start in range(0, len(rows), size) for answer in run(parts, rows[start : start + size])]
    assert answers == run(whole, rows)
