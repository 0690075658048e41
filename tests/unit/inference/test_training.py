"""A trained model is published by one call, whatever it answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingRegressor, RandomForestClassifier
from sklearn.linear_model import LinearRegression, LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.svm import LinearSVC

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


# --- the model's columns, in the model's order ------------------------------------------------------------------------

SUSPECT = DRAWN[:, 0] > 2 * DRAWN[:, 1]


def test_a_model_that_was_fitted_on_a_table_finds_its_columns_by_name(tmp_path: Path) -> None:
    model = LogisticRegression().fit(pd.DataFrame(COLUMNS), SUSPECT)
    publish_sklearn(model, "fraud", dict(reversed(COLUMNS.items())), registry=tmp_path)
    [probability] = answers(tmp_path, {"mean_amount": [10.0], "amount": [90.0]})["probability"]
    row = pd.DataFrame({"amount": [90.0], "mean_amount": [10.0]})
    assert probability == pytest.approx(model.predict_proba(row)[0, 1], rel=1e-5)
    assert [each.name for each in Registry(tmp_path).load("fraud", "1").manifest.inputs] == ["amount", "mean_amount"]


def test_columns_of_other_names_than_the_tables_are_refused_with_both_lists(tmp_path: Path) -> None:
    model = LogisticRegression().fit(pd.DataFrame(COLUMNS), SUSPECT)
    other = {"amount": DRAWN[:, 0], "average": DRAWN[:, 1]}
    with pytest.raises(PackageError, match="fitted on the columns amount, mean_amount, and is given amount, average"):
        publish_sklearn(model, "fraud", other, registry=tmp_path)
    assert Registry(tmp_path).versions("fraud") == ()


def test_too_few_columns_are_refused_with_their_names(tmp_path: Path) -> None:
    model = LogisticRegression().fit(DRAWN, SUSPECT)
    with pytest.raises(PackageError, match="fitted on 2 columns, and is given 1: amount; give all"):
        publish_sklearn(model, "fraud", {"amount": DRAWN[:, 0]}, registry=tmp_path)


# --- strings ----------------------------------------------------------------------------------------------------------

COUNTRIES = np.array(["de", "fr", "uk"], object)[np.arange(200) % 3]
MIXED = {"country": COUNTRIES, **COLUMNS}


def mixed(texts: list[Any], numbers: list[Any]) -> Pipeline:
    encoder = OneHotEncoder(handle_unknown="ignore")
    columns = ColumnTransformer([("texts", encoder, texts), ("numbers", StandardScaler(), numbers)])
    return Pipeline([("columns", columns), ("model", LogisticRegression())])


@pytest.mark.parametrize("as_table", [True, False])
def test_columns_of_strings_have_tensors_of_their_own(tmp_path: Path, as_table: bool) -> None:
    table = pd.DataFrame(MIXED)
    rows: Any = table if as_table else np.column_stack([*MIXED.values()])
    model = mixed(["country"], [*COLUMNS]) if as_table else mixed([0], [1, 2])
    model.fit(rows, SUSPECT | (COUNTRIES == "uk"))
    publish_sklearn(model, "fraud", MIXED, registry=tmp_path)
    found = answers(tmp_path, {name: list(column[:9]) for name, column in MIXED.items()})["probability"]
    assert found == pytest.approx(model.predict_proba(rows)[:9, 1], rel=1e-4)
    manifest = Registry(tmp_path).load("fraud", "1").manifest
    assert [each.type for each in manifest.inputs] == ["str", "float", "float"]
    assert {*manifest.baseline} == {*MIXED, "label", "probability"}


def test_a_model_that_chooses_columns_by_name_may_take_numbers_only(tmp_path: Path) -> None:
    names = {"label": DRAWN[:, 0], "mean amount": DRAWN[:, 1]}  # one is an output's name, one is no identifier
    columns = ColumnTransformer([("first", StandardScaler(), ["label"]), ("other", StandardScaler(), ["mean amount"])])
    model = Pipeline([("columns", columns), ("model", LogisticRegression())]).fit(pd.DataFrame(names), SUSPECT)
    publish_sklearn(model, "fraud", names, registry=tmp_path)
    row = pd.DataFrame({"label": [90.0], "mean amount": [10.0]})
    found = answers(tmp_path, {"label": [90.0], "mean amount": [10.0]})["probability"]
    assert found == pytest.approx(model.predict_proba(row)[:, 1], rel=1e-5)


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"amount": DRAWN[:, 0], "mean_amount": COUNTRIES}, "mean_amount, of which mean_amount hold strings"),
        ({"amount": ["a", 1] * 100, "mean_amount": DRAWN[:, 1]}, "'amount' holds int, str: give numbers"),
        ({"amount": ["a", None] * 100, "mean_amount": DRAWN[:, 1]}, "'amount' lacks 100 of its strings"),
        ({"amount": DRAWN, "mean_amount": DRAWN[:, 1]}, r"'amount' has shape \(200, 2\)"),
        ({"amount": DRAWN[:9, 0], "mean_amount": DRAWN[:, 1]}, r"all as many; received .*'amount': 9"),
        ({"amount": [1e39] * 200, "mean_amount": DRAWN[:, 1]}, "'amount' has 200 values that are infinite or too"),
        ({"amount": [None] * 200, "mean_amount": DRAWN[:, 1]}, "refuses the columns amount, mean_amount"),
    ],
)
def test_columns_that_the_model_cannot_take_are_named(tmp_path: Path, columns: dict[str, Any], words: str) -> None:
    model = LogisticRegression().fit(DRAWN, SUSPECT)
    with pytest.raises(PackageError, match=words):
        publish_sklearn(model, "fraud", columns, registry=tmp_path)
    assert Registry(tmp_path).versions("fraud") == ()


def test_a_model_that_cannot_be_converted_is_refused_with_what_can_be_done(tmp_path: Path) -> None:
    columns = {"country": COUNTRIES, "amount": DRAWN[:, 0]}
    model = Pipeline([("all", OneHotEncoder(handle_unknown="ignore")), ("model", LogisticRegression())])
    with pytest.raises(PackageError, match=r"skl2onnx does not convert this Pipeline.* and only these"):
        publish_sklearn(model.fit(pd.DataFrame(columns), SUSPECT), "fraud", columns, registry=tmp_path)


# --- classes ----------------------------------------------------------------------------------------------------------


def test_which_of_two_named_classes_is_the_positive_one_is_asked_for(tmp_path: Path) -> None:
    model = LogisticRegression().fit(DRAWN, np.where(SUSPECT, "fraud", "legit"))
    with pytest.warns(UserWarning, match="label is True for 'legit'.*positive='legit' or positive='fraud'"):
        publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path)
    publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path, positive="fraud")
    outputs = [Registry(tmp_path).load("fraud", version).manifest.output for version in ("1", "2")]
    assert [output.classes for output in outputs if output.kind == "binary"] == [("fraud", "legit"), ("legit", "fraud")]
    assert answers(tmp_path, {"amount": [90.0], "mean_amount": [10.0]})["label"] == [True]


def test_a_positive_class_that_the_model_does_not_have_is_refused(tmp_path: Path) -> None:
    model = LogisticRegression().fit(DRAWN, SUSPECT)
    with pytest.raises(PackageError, match="positive='fraud' is no class of the model: it has False and True"):
        publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path, positive="fraud")


def test_a_classifier_without_probabilities_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="LinearSVC tells classes without probabilities"):
        publish_sklearn(LinearSVC().fit(DRAWN, SUSPECT), "fraud", COLUMNS, registry=tmp_path)


def test_a_forest_whose_trees_are_often_divided_is_published(tmp_path: Path) -> None:
    drawn = np.random.default_rng(1).integers(0, 2, 200)
    model = RandomForestClassifier(6, random_state=0).fit(DRAWN, drawn)
    publish_sklearn(model, "fraud", COLUMNS, registry=tmp_path)
    assert max(answers(tmp_path, {name: list(column) for name, column in COLUMNS.items()})["probability"]) <= 1


def test_rows_that_would_not_be_served_are_not_in_the_golden_sample(tmp_path: Path) -> None:
    holed = DRAWN.copy()
    holed[::3, 1] = np.nan
    model = HistGradientBoostingRegressor(max_iter=5).fit(holed, holed[:, 0])
    publish_sklearn(model, "fraud", {"amount": holed[:, 0], "mean_amount": holed[:, 1]}, registry=tmp_path)
    golden = Registry(tmp_path).load("fraud", "1").manifest.golden
    assert len(golden.rows) == 20
    assert None not in [row["mean_amount"] for row in golden.rows]
