"""Look-ups and predictions that are foreseen: the same answers, and only what is taken is logged and counted."""

from __future__ import annotations

from typing import Any

import msgspec

from streamserve import Regression
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.effects import UNFORESEEN
from streamserve.dataflow.driving.foresight import Foreseen
from streamserve.dataflow.planning.nodes import FeaturesNode, ModelNode
from streamserve.dataflow.steps.features import FeatureJoin
from streamserve.dataflow.steps.models import ModelScorer
from streamserve.features.memory import MemoryReader
from streamserve.observer import Observer
from tests.unit.dataflow.fakes import batch_of
from tests.unit.dataflow.steps.test_models import Sum


class Ride(msgspec.Struct):
    """An event: its user's feature is ``y``."""

    user: str
    x: float


class _Runs(Observer):
    """Keeps how many rows a model has scored and refused."""

    def __init__(self) -> None:
        self.rows: list[tuple[int, int]] = []

    def model_run(self, model: str, rows: int, rejected: int, seconds: float) -> None:
        del model, seconds
        self.rows.append((rows, rejected))


def joined() -> FeatureJoin:
    reader = MemoryReader("users", ("user",), {"y": float}, {"ann": {"y": 1.0}, "bob": {"y": 2.0}})
    return FeatureJoin(FeaturesNode("users", Ride, log_rate=1.0), reader, "log")


def rides(*xs: float) -> RecordBatch:
    return batch_of([Ride("bob" if row % 2 else "ann", x) for row, x in enumerate(xs)], times_ms=[0] * len(xs))


def foreseen_by(join: FeatureJoin, batch: RecordBatch) -> Foreseen:
    found = join.foresee([batch.values], 0, places_of(batch), batch)
    assert found is not None
    return found


def places_of(batch: RecordBatch) -> dict[int, int]:
    return {id(event): row for row, event in enumerate(batch.values)}


def logged(join: FeatureJoin, batch: RecordBatch) -> list[tuple[int, float]]:
    values = [msgspec.json.decode(emission.value or b"") for emission, _ in join.drain(batch)]
    return [(value["source_offset"], value["features"]["y"]) for value in values]


def test_rows_that_were_taken_are_logged_and_no_others() -> None:
    join, batch = joined(), rides(1, 2, 3)
    foreseen = foreseen_by(join, batch)
    assert [dict(foreseen.take(batch.values[row])) for row in (2, 1)] == [{"y": 1.0}, {"y": 2.0}]
    join.settle(foreseen)
    assert logged(join, batch) == [(1, 2.0), (2, 1.0)]
    assert logged(join, batch) == []


def test_an_event_with_another_key_by_now_is_asked_for() -> None:
    join, batch = joined(), rides(1, 2)
    foreseen = foreseen_by(join, batch)
    batch.values[0].user = "bob"
    assert foreseen.take(batch.values[0]) is UNFORESEEN
    assert dict(join.resolve([batch.values[0]], [0], batch).values[0]) == {"y": 2.0}


def test_nothing_is_foreseen_once_an_agent_pushes() -> None:
    join, batch = joined(), rides(1, 2)
    join.foreseen = foreseen_by(join, batch)
    join.begin_push()
    assert join.foreseen is None
    assert join.foresee([batch.values], 0, places_of(batch), batch) is None


def test_an_event_without_the_key_is_refused_when_it_is_asked_for() -> None:
    join, batch = joined(), batch_of([Ride("ann", 1), object()])
    foreseen = foreseen_by(join, batch)
    assert dict(foreseen.take(batch.values[0])) == {"y": 1.0}
    assert foreseen.take(batch.values[1]) is UNFORESEEN
    assert join.resolve([batch.values[1]], [1], batch).errors.keys() == {0}


def scored(batch: RecordBatch, observer: Observer) -> tuple[ModelScorer, Foreseen, Foreseen]:
    """Return a scorer, and what is foreseen of features and predictions."""
    scorer = ModelScorer(ModelNode("sum", Regression), Sum(), observer, observed=True)
    features = foreseen_by(joined(), batch)
    found = scorer.foresee([batch.values, features.answers], 0, places_of(batch), batch)
    assert found is not None
    return scorer, features, found


def test_predictions_that_were_taken_are_observed_and_no_others() -> None:
    batch, runs = rides(10, 20, 30, -40), _Runs()
    scorer, features, foreseen = scored(batch, runs)
    asked = [((batch.values[row], features.answers[row]), dict[str, float]()) for row in range(4)]
    assert [foreseen.take(asked[row]).output for row in (2, 0)] == [Regression(31.0), Regression(11.0)]
    assert foreseen.take(asked[3]) is UNFORESEEN  # the model refuses it, and says so when it is asked
    scorer.settle(foreseen)
    [seen] = scorer.take_observations()
    assert (list(seen.rows), list(seen.columns["x"])) == ([0, 2], [10, 30])
    assert list(seen.scores.columns["value"]) == [11.0, 31.0]
    assert runs.rows == [(2, 0)]
    assert scorer.resolve([asked[3]], [3], batch).errors.keys() == {0}


def test_of_predictions_that_nobody_took_nothing_is_known() -> None:
    batch, runs = rides(10, 20), _Runs()
    scorer, _, foreseen = scored(batch, runs)
    scorer.settle(foreseen)
    assert scorer.take_observations() == []
    assert runs.rows == []


def test_what_is_given_otherwise_is_not_foreseen() -> None:
    batch = rides(10, 20, 30, 40)
    _, features, foreseen = scored(batch, Observer())
    batch.values[0].x = 11
    rows = features.answers
    given: list[Any] = [
        ((batch.values[0], rows[0]), {}),
        ((batch.values[1], rows[0]), {}),
        ((batch.values[2],), {}),
        ((batch.values[2], rows[2]), {"x": 1.0}),
        ((Ride("ann", 10), rows[0]), {}),
    ]
    assert all(foreseen.take(payload) is UNFORESEEN for payload in given)
    assert foreseen.take(((batch.values[3], rows[3]), {})).output == Regression(42.0)
