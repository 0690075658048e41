from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.compare.outputs import Outputs, expected
from tests.benchmarks.compare.processes import Usage
from tests.benchmarks.compare.trials import TrialFailed, measured


def taken_at(times: list[int]) -> Outputs:
    """Outputs that the broker took at these times, in milliseconds."""
    truth = expected(1)
    return Outputs(truth.ids, truth.scores, truth.labels, np.array(times, np.int64))


def test_warm_up_and_tail_do_not_count() -> None:
    slow, fast, tail = range(0, 5000, 100), range(5000, 5450, 10), range(10_000, 15_000, 1000)
    usage = Usage([0.0, 5.0, 6.0], [0.0, 4.0, 4.5], [2 << 20, 3 << 20, 1 << 20])
    found = measured(taken_at([*slow, *fast, *tail]), usage, 0.5, "d")
    assert found.per_second == pytest.approx(100)
    assert found.cpu_us == pytest.approx(0.5 / 100 * 1e6)
    assert found.memory_mib == 3


def test_outputs_that_came_in_no_order_count_alike() -> None:
    times = list(range(0, 1000, 10))
    usage = Usage([0.0, 1.0], [0.0, 1.0], [1, 1])
    assert measured(taken_at(times), usage, 0.1, "d") == measured(taken_at(times[::-1]), usage, 0.1, "d")


def test_outputs_that_came_at_once_are_no_measurement() -> None:
    with pytest.raises(TrialFailed, match="measure more events"):
        measured(taken_at([5] * 100), Usage([0.0], [0.0], [1]), 0.1, "d")
