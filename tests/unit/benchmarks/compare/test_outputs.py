from __future__ import annotations

import numpy as np
import pytest

from tests.benchmarks.compare.outputs import Outputs, WrongOutputs, check, collected, expected
from tests.benchmarks.workload import Scored

COUNT = 50
TRUTH = expected(COUNT)


def written() -> list[tuple[Scored, int]]:
    """What an engine writes that does the job, and when."""
    columns = zip(TRUTH.ids.tolist(), TRUTH.scores.tolist(), TRUTH.labels.tolist(), strict=True)
    return [(Scored(number, 0, score, label, "1"), 1000 + number) for number, score, label in columns]


def outputs(rows: list[tuple[Scored, int]]) -> Outputs:
    return collected(iter(rows))


def test_the_digest_does_not_depend_on_the_order_of_the_outputs() -> None:
    assert outputs(written()).digest() == outputs(written()[::-1]).digest() == TRUTH.digest()


def test_the_digest_is_over_scores_as_float32() -> None:
    rows = [(Scored(row.id, row.user, row.probability + 1e-12, row.label, "1"), at) for row, at in written()]
    assert outputs(rows).digest() == TRUTH.digest()


@pytest.mark.parametrize("column", ["ids", "scores", "labels"])
def test_the_digest_tells_a_difference_in_any_column(column: str) -> None:
    columns = {name: getattr(TRUTH, name).copy() for name in ("ids", "scores", "labels", "times")}
    columns[column][7] = not columns[column][7]
    assert Outputs(**columns).digest() != TRUTH.digest()


def test_fewer_events_have_the_beginning_of_the_same_truth() -> None:
    assert np.array_equal(expected(20).scores, TRUTH.scores[:20])


def test_what_was_written_as_it_had_to_be_passes() -> None:
    assert check(outputs(written()), TRUTH) == TRUTH.digest()


def test_an_event_that_is_missing_is_told() -> None:
    with pytest.raises(WrongOutputs, match="49 predictions of 50 events: 1 missing, 0 twice"):
        check(outputs(written()[1:]), TRUTH)


def test_an_event_that_was_scored_twice_is_told_even_if_their_number_is_right() -> None:
    with pytest.raises(WrongOutputs, match="50 predictions of 50 events: 1 missing, 1 twice"):
        check(outputs([*written()[1:], written()[1]]), TRUTH)


def test_a_prediction_that_differs_is_told() -> None:
    rows = written()
    rows[3][0].probability += 1e-3
    with pytest.raises(WrongOutputs, match=r"1 of 50 predictions differ, the first that of event \[3\]"):
        check(outputs(rows), TRUTH)
