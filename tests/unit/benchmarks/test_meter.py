from __future__ import annotations

from collections.abc import Callable

import pytest

from tests.benchmarks.meter import Meter


def ticking(*seconds: float) -> Callable[[], float]:
    return iter(seconds).__next__


def test_the_first_commit_starts_the_clock_and_does_not_count() -> None:
    meter = Meter(300, clock=ticking(10.0, 11.0, 12.0))
    for _ in range(3):
        meter.committed(100)
    result = meter.result()
    assert (result.records, result.commits, result.seconds) == (200, 2, 2.0)
    assert result.per_second == 100


def test_commits_after_the_goal_are_left_out() -> None:
    meter = Meter(200, clock=ticking(10.0, 11.0, 99.0))
    for _ in range(5):
        meter.committed(100)
    assert meter.result().seconds == 1.0


def test_processor_time_is_told_for_each_record() -> None:
    meter = Meter(2)
    meter.committed(1)
    meter.committed(1)
    result = meter.result()
    assert result.cpu_microseconds == pytest.approx(result.cpu_seconds * 1e6)


@pytest.mark.parametrize("commits", [[], [50], [100]])
def test_a_goal_that_was_missed_or_met_by_one_commit_measures_nothing(commits: list[int]) -> None:
    meter = Meter(100)
    for records in commits:
        meter.committed(records)
    with pytest.raises(ValueError, match="nothing was measured"):
        meter.result()
