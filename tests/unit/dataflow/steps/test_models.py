"""Predictions of many events are one run, however each was asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from streamserve import FeatureRow, Regression
from streamserve.dataflow.planning.nodes import ModelNode
from streamserve.dataflow.steps.models import ModelScorer
from streamserve.errors import ConfigurationError, ModelRowError
from streamserve.features.base import FeatureBatch
from streamserve.inference.runner import Scores
from streamserve.observer import Observer


class Sum:
    """A runner that adds ``x`` and ``y`` and refuses negative ones."""

    name, version, sha256, batch_size = "sum", "1", "", 64
    inputs: Mapping[str, type] = {"x": float, "y": float}
    outputs: Mapping[str, Any] = {"value": float}

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, columns: Mapping[str, Sequence[Any]], size: int) -> Scores:
        self.sizes.append(size)
        pairs = list(zip(columns["x"], columns["y"], strict=True))
        errors = {row: ModelRowError("negative") for row, pair in enumerate(pairs) if min(pair) < 0}
        return Scores({"value": [x + y for x, y in pairs]}, errors)


@dataclass
class HasX:
    x: float


@dataclass
class HasY:
    y: float


def scorer_of(*, observed: bool = False) -> tuple[ModelScorer, Sum]:
    runner = Sum()
    return ModelScorer(ModelNode("sum", Regression), runner, Observer(), observed=observed), runner


def asked(*rows: object, **values: Any) -> tuple[tuple[object, ...], dict[str, Any]]:
    return rows, values


def outcomes(scorer: ModelScorer, *payloads: Any) -> list[Any]:
    """Return the value of each answer, or its error's class."""
    values, errors = scorer.resolve(payloads, range(len(payloads)), None)
    return [type(errors[row]) if row in errors else answer.output.value for row, answer in enumerate(values)]


def feature_row(y: float) -> FeatureRow:
    return FeatureRow({"y": y}, status={"y": "present"}, age=timedelta())


def test_inputs_come_from_objects_mappings_features_and_keywords() -> None:
    scorer, runner = scorer_of()
    found = FeatureBatch(2, {"y": [10.0, 20.0]}, {}, [0, 0])
    assert outcomes(scorer, asked(HasX(1), found.row(0)), asked(HasX(2), found.row(1))) == [11, 22]
    assert outcomes(scorer, asked(HasX(1), found.row(1)), asked(HasX(2), found.row(0))) == [21, 12]
    assert outcomes(scorer, asked({"x": 1}, y=5), asked({"x": 2}, y=6)) == [6, 8]
    assert runner.sizes == [2, 2, 2]


def test_events_that_ask_in_different_ways_are_answered_in_one_run() -> None:
    scorer, runner = scorer_of()
    payloads = [
        asked(HasX(1), HasY(1)),
        asked(x=2, y=2),
        asked(HasY(3), HasX(3)),
        asked({"x": 4, "y": 4}),
        asked({"x": -1, "y": 0}),
        asked({"x": 1}),
        asked(HasX(7), feature_row(7)),
    ]
    assert outcomes(scorer, *payloads) == [2, 4, 6, 8, ModelRowError, ModelRowError, 14]
    assert runner.sizes == [6]
    assert outcomes(scorer, asked({})) == [ModelRowError]


def test_a_row_whose_property_raises_is_refused_and_the_others_are_answered() -> None:
    class Shares:
        def __init__(self, x: float) -> None:
            self.x = x

        @property
        def y(self) -> float:
            return 6 / self.x

    scorer, runner = scorer_of()
    assert outcomes(scorer, *(asked(Shares(x)) for x in (2, 0, 3))) == [5, ModelRowError, 5]
    assert runner.sizes == [2]


def test_rows_that_can_never_have_an_input_are_a_mistake_of_the_app() -> None:
    scorer, _ = scorer_of()
    with pytest.raises(ConfigurationError, match=r"'y' is in none of .* \(HasX\).*y=... by keyword"):
        scorer.resolve([asked(HasX(1))], [0], None)
    with pytest.raises(ConfigurationError, match="'x' is in several"):
        scorer.resolve([asked(HasX(1), HasX(2), y=1)], [0], None)


def test_a_batch_agent_gets_its_answers_or_the_first_refusal() -> None:
    scorer, _ = scorer_of()
    answers = scorer.many([[HasX(1), HasX(2)]], {"y": [3, 4]})
    assert [answer.output.value for answer in answers] == [4, 6]
    assert scorer.many([[]], {"y": []}) == []
    with pytest.raises(ModelRowError, match="negative"):
        scorer.many([], {"x": [1, -1], "y": [1, 1]})


def test_what_a_batch_agent_asked_before_it_raised_is_not_observed() -> None:
    scorer, _ = scorer_of(observed=True)
    scorer.score({"x": [1], "y": [1]}, [0])
    scorer.look_at(None, [0, 1])  # pyright: ignore[reportArgumentType] - the batch is not looked at
    scorer.many([], {"x": [1, 2], "y": [1, 2]})
    scorer.forget_look()
    assert [list(seen.rows) for seen in scorer.take_observations()] == [[0]]
