"""A trained model is published by one call, whatever it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import LinearRegression, LogisticRegression

from streamserve.errors import PackageError
from streamserve.inference.onnx import load_runner
from streamserve.inference.registry import Registry
from streamserve.inference.training import publish_sklearn

DRAWN = np.random.default_rng(0).uniform(0, 100, (200, 2)).astype(np.float32)
COLUMNS = {"amount": DRAWN[:, 0], "mean_amount": DRAWN[:, 1]}


def answers(registry: Path, rows: dict[str, list[Any]]) -> dict[str, Any]:
    """Return what the champion answers."""
    models = Registry(registry)
    runner = load_runner(models.load("fraud", models.resolve("fraud")))
    scores = runner.predict(rows, len(next(iter(rows.values()))))
    return {name: list(column) for name, column in scores.columns.items()}


def test_a_classifier_of_two_classes_answers_with_the_probability_of_the_second(tmp_path: Path) -> None:
    model = LogisticRegression().fit(DRAWN, DRAWN[:, 0] > 2 * DRAWN[:, 1])
    assert publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path) == "1"
    found = answers(tmp_path, {"amount": [90.0], "mean_amount": [10.0]})
    assert found["probability"] == pytest.approx(model.predict_proba(np.array([[90.0, 10.0]]))[:, 1], rel=1e-5)
    assert found["label"] == [True]


def test_a_classifier_of_many_classes_answers_with_all_of_them(tmp_path: Path) -> None:
    bands = np.digitize(DRAWN[:, 0], [30, 60])
    model = LogisticRegression(max_iter=1000).fit(DRAWN, np.array(["low", "middle", "high"])[bands])
    publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path)
    found = answers(tmp_path, {"amount": [5.0, 95.0], "mean_amount": [50.0, 50.0]})
    assert found["label"] == ["low", "high"]
    assert found["probabilities"][0].keys() == {"low", "middle", "high"}


def test_a_regressor_answers_with_its_value(tmp_path: Path) -> None:
    publish_sklearn(LinearRegression().fit(DRAWN, DRAWN.sum(axis=1)), "fraud", COLUMNS, registry=tmp_path)
    assert answers(tmp_path, {"amount": [1.0], "mean_amount": [2.0]})["value"] == pytest.approx([3.0], abs=1e-3)


def test_missing_values_reach_a_model_that_takes_them(tmp_path: Path) -> None:
    holed = DRAWN.copy()
    holed[::3, 1] = np.nan
    model = HistGradientBoostingRegressor(max_iter=5).fit(holed, holed[:, 0])
    columns = {"amount": holed[:, 0], "mean_amount": holed[:, 1]}
    publish_sklearn(model, "fraud", columns, registry=tmp_path, missing="nan")
    found = answers(tmp_path, {"amount": [50.0], "mean_amount": [None]})["value"]
    assert found == pytest.approx(model.predict(np.array([[50.0, np.nan]])), rel=1e-5)


def test_versions_count_up_and_the_alias_follows(tmp_path: Path) -> None:
    model = LinearRegression().fit(DRAWN, DRAWN[:, 0])
    published = [
        publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path, alias=alias) for alias in ("champion", None)
    ]
    assert published == ["1", "2"]
    assert Registry(tmp_path).aliases("fraud") == {"champion": "1"}


def test_a_version_is_never_written_again(tmp_path: Path) -> None:
    model = LinearRegression().fit(DRAWN, DRAWN[:, 0])
    publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path, version="2026-01")
    with pytest.raises(PackageError, match="2026-01 exists"):
        publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path, version="2026-01")


def test_the_manifest_has_the_columns_as_inputs_and_as_baseline_beside_the_answers(
    tmp_path: Path,
) -> None:
    publish_sklearn(LinearRegression().fit(DRAWN, DRAWN[:, 0]), "fraud", COLUMNS, registry=tmp_path)
    manifest = Registry(tmp_path).load("fraud", "1").manifest
    assert [each.name for each in manifest.inputs] == ["amount", "mean_amount"]
    assert {*manifest.baseline} == {"amount", "mean_amount", "value"}
