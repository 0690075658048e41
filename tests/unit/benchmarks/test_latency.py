from __future__ import annotations

import msgspec
import pytest

from tests.benchmarks.latency import LatencyError, Run, quantiles
from tests.benchmarks.workload import Scored


def predictions(*numbers: int) -> list[bytes]:
    return [msgspec.json.encode(Scored(number, 0, 0.5, label=False, version="1")) for number in numbers]


def a_run(first: int = 0) -> Run:
    """Four events, due at 10.00, 10.01, 10.02 and 10.03 s."""
    return Run(first, [b""] * 4, began=10.0)


def test_a_delay_counts_from_the_moment_that_the_event_was_due_however_late_it_was_sent() -> None:
    run = a_run()
    run.received = [(10.001, predictions(0)), (10.051, predictions(1, 2, 3))]  # a stall of 40 ms
    found = quantiles(run, 100, counted_from=0)
    assert (found.events, found.max) == (4, 41.0)
    assert found.p50 == pytest.approx(26.0)


def test_events_of_the_warm_up_do_not_count() -> None:
    run = a_run()
    run.received = [(11.0, predictions(0, 1)), (11.031, predictions(2, 3))]
    assert quantiles(run, 100, counted_from=3).max == pytest.approx(1001.0)


def test_predictions_of_other_runs_and_those_that_come_again_are_passed_over() -> None:
    run = a_run(first=100)
    run.received = [(10.031, predictions(99, 0, 100, 101, 102, 103, 104)), (12.0, predictions(100))]
    assert quantiles(run, 100, counted_from=0).max == pytest.approx(31.0)


def test_there_is_no_latency_where_a_prediction_is_missing() -> None:
    run = a_run()
    run.received = [(10.1, predictions(0, 1, 3))]
    with pytest.raises(LatencyError, match="1 of 4 predictions"):
        quantiles(run, 100, counted_from=0)
