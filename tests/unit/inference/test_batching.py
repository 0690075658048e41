from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.clock import ManualClock
from streamserve.inference.batching import BATCH_SIZES, RunRefused, choose_batch_size, run_in_pieces

ROW = 1e-6


def chosen(cost: Callable[[int], float], tolerance: float = 0.1) -> tuple[int, float]:
    """The size chosen for a model whose run of n rows takes ``cost(n)``, and how long choosing took, in seconds."""
    clock = ManualClock()
    size = choose_batch_size(lambda rows: clock.advance(cost(rows)), clock, tolerance=tolerance)
    return size, clock.monotonic()


def by_size(costs: Mapping[int, float]) -> Callable[[int], float]:
    return lambda rows: rows * costs.get(rows, 10 * ROW)


def test_the_largest_size_near_the_best_is_chosen() -> None:
    costs = by_size({32: 2 * ROW, 64: ROW, 128: 1.09 * ROW, 256: 1.2 * ROW})
    assert chosen(costs)[0] == 128
    assert chosen(costs, tolerance=0.25)[0] == 256


def test_a_model_that_is_slower_in_large_runs_gets_a_small_size() -> None:
    assert chosen(by_size({32: 3.8 * ROW, 2048: 6.9 * ROW}))[0] == 32


def test_fixed_costs_ask_for_large_runs() -> None:
    assert chosen(lambda rows: 0.001 + rows * 1e-8)[0] == BATCH_SIZES[-1]


def test_a_slow_model_is_measured_no_longer_than_the_budget() -> None:
    size, seconds = chosen(lambda rows: rows * 0.0005)
    assert size == 128
    assert seconds <= 0.3


def test_a_model_slower_than_the_budget_is_run_twice_and_gets_the_smallest_size() -> None:
    assert chosen(lambda rows: rows * 1.0) == (32, pytest.approx(64.0))


def test_a_disturbed_run_does_not_count() -> None:
    runs: list[int] = []

    def cost(rows: int) -> float:
        runs.append(rows)
        return rows * (50 * ROW if len(runs) % 3 == 1 else ROW if rows <= 64 else 2 * ROW)

    assert chosen(cost)[0] == 64


@given(count=st.integers(0, 200), batch_size=st.integers(1, 64), bad=st.sets(st.integers(0, 199)))
def test_pieces_cover_all_rows_in_order_and_leave_out_only_the_bad(count: int, batch_size: int, bad: set[int]) -> None:
    def run(start: int, stop: int) -> int:
        assert 0 < stop - start <= batch_size
        if bad & set(range(start, stop)):
            raise RunRefused("bad")
        return stop - start

    pieces = list(run_in_pieces(run, count, batch_size))
    assert [row for piece in pieces for row in range(piece.start, piece.stop)] == list(range(count))
    refused = {piece.start for piece in pieces if isinstance(piece.result, RunRefused)}
    assert refused == {row for row in bad if row < count}


def test_one_bad_row_costs_few_runs() -> None:
    runs: list[int] = []

    def run(start: int, stop: int) -> None:
        runs.append(stop - start)
        if start <= 300 < stop:
            raise RunRefused("bad")

    assert len(list(run_in_pieces(run, 1024, 1024))) > 1
    assert len(runs) == 1 + 2 * 10


def test_other_errors_are_not_taken_for_a_row() -> None:
    def run(start: int, stop: int) -> None:
        raise MemoryError(start, stop)

    with pytest.raises(MemoryError):
        list(run_in_pieces(run, 4, 4))
