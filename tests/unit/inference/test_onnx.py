from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import StringStringEntryProto, TensorProto, helper

from streamserve.clock import ManualClock
from streamserve.errors import PackageError, PlanError
from streamserve.inference.batching import BATCH_SIZES
from streamserve.inference.manifest import GoldenSample, InputSpec, OutputColumn, RegressionOutput, TensorSpec
from streamserve.inference.onnx import OnnxRunner, load_runner
from streamserve.inference.runner import Runner

from . import onnx_models as models
from . import trained_models as trained


def by_name(matrix: NDArray[Any]) -> dict[str, list[Any]]:
    return dict(zip(trained.FEATURES, matrix.T.tolist(), strict=True))


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> OnnxRunner:
    return OnnxRunner(trained.tree_package(tmp_path_factory.mktemp("trees"), missing="nan"))


@pytest.fixture(scope="module")
def lookup(tmp_path_factory: pytest.TempPathFactory) -> OnnxRunner:
    spec = InputSpec(name="x", type="int")
    tensor = TensorSpec(name="x", dtype="int64", layout="vector")
    return OnnxRunner(models.scalar_package(tmp_path_factory.mktemp("lookup"), models.lookup(), spec, tensor, 2, 20.0))


def test_a_loaded_runner_says_what_it_is(tmp_path: Path) -> None:
    package = trained.tree_package(tmp_path)
    runner: Runner = load_runner(package)
    assert (runner.name, runner.version, runner.sha256) == ("fraud", "1", package.manifest.sha256)
    assert runner.inputs == dict.fromkeys(trained.FEATURES, float)
    assert runner.outputs == {"label": bool, "probability": float}
    assert runner.batch_size in BATCH_SIZES


def test_a_given_batch_size_is_not_measured(tmp_path: Path) -> None:
    assert load_runner(trained.tree_package(tmp_path), batch_size=7, clock=ManualClock()).batch_size == 7


def test_answers_do_not_depend_on_the_batch_size(trees: OnnxRunner) -> None:
    matrix = trained.training_matrix()[:100]
    whole = trees.predict(by_name(matrix), 100)
    trees.batch_size, saved = 7, trees.batch_size
    pieces = trees.predict(by_name(matrix), 100)
    trees.batch_size = saved
    assert not whole.errors
    assert pieces.columns["label"] == whole.columns["label"]
    assert pieces.columns["probability"] == pytest.approx(whole.columns["probability"], abs=1e-6)


def test_labels_agree_with_the_published_probability(trees: OnnxRunner) -> None:
    columns = trees.predict(by_name(trained.training_matrix()), 400).columns
    assert columns["label"] == [probability > 0.5 for probability in columns["probability"]]
    assert {type(value) for value in columns["probability"]} == {float}


def test_lists_and_arrays_give_the_same_answers(trees: OnnxRunner) -> None:
    matrix = trained.training_matrix()[:50]
    arrays = {name: matrix[:, index] for index, name in enumerate(trained.FEATURES)}
    assert trees.predict(arrays, 50).columns == trees.predict(by_name(matrix), 50).columns


def test_no_rows_give_no_answers(trees: OnnxRunner) -> None:
    scores = trees.predict({name: [] for name in trained.FEATURES}, 0)
    assert [list(column) for column in scores.columns.values()] == [[], []]
    assert not scores.errors


def test_columns_that_are_not_inputs_are_ignored(trees: OnnxRunner) -> None:
    columns = by_name(trained.training_matrix()[:2])
    assert trees.predict({**columns, "other": ["?", "?"]}, 2).columns == trees.predict(columns, 2).columns


@pytest.mark.parametrize(("columns", "size"), [({"x": [1]}, 2), ({"z": [1]}, 1)])
def test_a_column_that_is_absent_or_short_is_a_fault_of_the_plan(
    lookup: OnnxRunner, columns: dict[str, list[int]], size: int
) -> None:
    with pytest.raises(PlanError, match=r"inputs not given: .*of other lengths: .*app.model"):
        lookup.predict(columns, size)


def test_named_inputs_with_strings_answer_as_scikit_learn(tmp_path: Path) -> None:
    runner = load_runner(trained.pipeline_package(tmp_path), batch_size=32)
    _, expected = trained.pipeline_model()
    columns = {"wind": [1.0, None], "hour": [12, 3], "carrier": ["AA", "ZZ"]}
    scores = runner.predict(columns, 2)
    assert scores.columns["probability"] == pytest.approx(expected, abs=1e-5)
    assert runner.inputs == {"wind": float, "hour": int, "carrier": str}


def test_each_bad_row_is_refused_with_its_input_and_rule(tmp_path: Path) -> None:
    runner = OnnxRunner(trained.pipeline_package(tmp_path))
    columns = {
        "wind": [1.0, math.inf, "gale", 1e39, 1.0, 1.0, 1.0, 1.0],
        "hour": [12, 12, 12, 12, 24, None, 2**70, 12],
        "carrier": ["AA", "AA", "AA", "AA", "AA", "AA", "AA", 7],
    }
    scores = runner.predict(columns, 8)
    assert {row: str(error).removeprefix("model delay 1: ") for row, error in scores.errors.items()} == {
        1: "input 'wind' is infinite or too large for float32",
        2: "input 'wind' is of type str, not float",
        3: "input 'wind' is infinite or too large for float32",
        4: "input 'hour' is above the maximum 23.0",
        5: "input 'hour' is missing: give it, or publish the model with missing=\"nan\" or a default for it",
        6: "input 'hour' is an integer beyond the range of a 64-bit int",
        7: "input 'carrier' is of type int, not str",
    }
    assert (
        scores.columns["probability"][0]
        == runner.predict({k: v[:1] for k, v in columns.items()}, 1).columns["probability"][0]
    )


def test_a_batch_of_only_bad_rows_has_only_errors(lookup: OnnxRunner) -> None:
    scores = lookup.predict({"x": [None, 77, "a"]}, 3)
    assert list(scores.errors) == [0, 1, 2]
    assert len(scores.columns["value"]) == 3


@given(rows=st.lists(st.sampled_from([0, 1, 2, 9, None]), max_size=40), batch_size=st.integers(1, 16))
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_failing_run_is_narrowed_down_to_the_rows_at_fault(
    lookup: OnnxRunner, rows: list[int | None], batch_size: int
) -> None:
    lookup.batch_size = batch_size
    scores = lookup.predict({"x": rows}, len(rows))
    good = {row: value for row, value in enumerate(rows) if value in {0, 1, 2}}
    assert scores.errors.keys() == set(range(len(rows))) - good.keys()
    assert {row: scores.columns["value"][row] for row in good} == {row: 10.0 * x for row, x in good.items()}


def test_a_refusal_names_the_operator_and_not_the_value(lookup: OnnxRunner) -> None:
    error = lookup.predict({"x": [424242]}, 1).errors[0]
    assert str(error) == "model model 1: the model fails on this row in operator Gather (InvalidArgument)"
    assert error.__cause__ is None


def test_a_string_that_is_not_unicode_is_refused_alone(tmp_path: Path) -> None:
    output = RegressionOutput(value=OutputColumn(tensor="y"))
    length = helper.make_node("StringConcat", ["x", "x"], ["z"])
    code = helper.make_node("Cast", ["number"], ["y"], to=TensorProto.FLOAT)
    constant = helper.make_node("Equal", ["z", "z"], ["number"])
    text = helper.make_tensor_value_info("x", TensorProto.STRING, ["N", 1])
    built = helper.make_graph([length, constant, code], "g", [text], [models.floats("y")])
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 20)], ir_version=9).SerializeToString()
    golden = GoldenSample(rows=({"x": "a"},), expected=({"value": 1.0},))
    spec, tensor = InputSpec(name="x", type="str"), TensorSpec(name="x", dtype="string")
    runner = load_runner(
        models.write(tmp_path, model, inputs=[spec], tensors=[tensor], output=output, golden=golden), batch_size=8
    )
    scores = runner.predict({"x": ["a", "\ud800", "a\0b"]}, 3)
    assert list(scores.errors) == [1]
    assert scores.columns["value"][2] == 1.0


@pytest.mark.parametrize(("operator", "bad"), [("Sqrt", -1.0), ("Log", 0.0)])
def test_an_answer_that_is_not_finite_is_refused(tmp_path: Path, operator: str, bad: float) -> None:
    spec, tensor = InputSpec(name="x", type="float"), TensorSpec(name="x", dtype="float32")
    package = models.scalar_package(
        tmp_path, models.unary(operator), spec, tensor, 1.0, 1.0 if operator == "Sqrt" else 0.0
    )
    scores = load_runner(package, batch_size=8).predict({"x": [4.0, bad, 1.0]}, 3)
    assert {row: str(error) for row, error in scores.errors.items()} == {
        1: "model model 1: output 'value' is not finite"
    }
    assert scores.columns["value"][2] == (1.0 if operator == "Sqrt" else 0.0)


def test_wrong_golden_answers_are_told_with_both_values(tmp_path: Path) -> None:
    package = models.float_package(tmp_path, y=1.5)
    with pytest.raises(PackageError, match=r"golden sample at row 0: value is 1\.0, expected 1\.5 within 1e-05"):
        load_runner(package)


def test_a_golden_row_that_is_refused_fails_the_load(tmp_path: Path) -> None:
    spec = InputSpec(name="x", type="int")
    tensor = TensorSpec(name="x", dtype="int64", layout="vector")
    package = models.scalar_package(tmp_path, models.lookup(), spec, tensor, 3, 30.0)
    with pytest.raises(PackageError, match=r"row 0: .*operator Gather"):
        load_runner(package)


@pytest.mark.parametrize(
    ("shape", "tensor", "problem"),
    [
        (["N", 1], TensorSpec(name="x", dtype="float64"), r"tensor\(float\) in the model, tensor\(double\)"),
        (["N", 1], TensorSpec(name="x", dtype="float32", layout="vector"), r"\['N', 1\] in the model, \['N'\]"),
        (["N", 3], TensorSpec(name="x", dtype="float32", layout="matrix"), r"\['N', 3\] in the model, \['N', 1\]"),
        ([4, 1], TensorSpec(name="x", dtype="float32"), r"\[4, 1\] in the model"),
    ],
)
def test_a_signature_that_is_not_the_models_is_refused(
    tmp_path: Path, shape: list[int | str], tensor: TensorSpec, problem: str
) -> None:
    spec = InputSpec(name="x", type="float")
    package = models.scalar_package(tmp_path, models.identity(shape=shape), spec, tensor, 1.0, 1.0)
    with pytest.raises(PackageError, match=problem):
        OnnxRunner(package)


def test_tensors_on_one_side_only_are_refused(tmp_path: Path) -> None:
    spec, tensor = InputSpec(name="x", type="float", tensor="z"), TensorSpec(name="z", dtype="float32")
    package = models.scalar_package(tmp_path, models.identity(), spec, tensor, 1.0, 1.0)
    with pytest.raises(PackageError, match="'x' is only in the model; tensor 'z' is only in the manifest"):
        OnnxRunner(package)


def test_an_output_that_the_model_lacks_is_refused(tmp_path: Path) -> None:
    output = RegressionOutput(value=OutputColumn(tensor="score"))
    golden = GoldenSample(rows=({"x": 1.0},), expected=({"value": 1.0},))
    spec, tensor = InputSpec(name="x", type="float"), TensorSpec(name="x", dtype="float32")
    package = models.write(tmp_path, models.identity(), inputs=[spec], tensors=[tensor], output=output, golden=golden)
    with pytest.raises(PackageError, match=r"output 'score' is not one of the model's: \['y'\]"):
        OnnxRunner(package)


def test_a_file_that_is_not_a_model_is_refused(tmp_path: Path) -> None:
    package = models.float_package(tmp_path, b"not onnx")
    with pytest.raises(PackageError, match="does not load the model"):
        OnnxRunner(package)


def test_weights_outside_the_hashed_file_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "w.bin").write_bytes(np.float32(1).tobytes())
    weight = TensorProto(
        name="w",
        data_type=TensorProto.FLOAT,
        dims=[1, 1],
        data_location=TensorProto.EXTERNAL,
        external_data=[StringStringEntryProto(key="location", value="w.bin")],
    )
    add = helper.make_node("Add", ["x", "w"], ["y"])
    built = helper.make_graph([add], "g", [models.floats("x")], [models.floats("y")], [weight])
    model = helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    monkeypatch.chdir(tmp_path)
    package = models.float_package(tmp_path / "registry", model.SerializeToString(), y=2.0)
    with pytest.raises(PackageError, match=r"[Ee]xternal data"):
        OnnxRunner(package)


def test_a_model_that_does_not_answer_row_by_row_is_refused(tmp_path: Path) -> None:
    node = helper.make_node("ReduceSum", ["x"], ["y"], keepdims=1)
    model = models.graph([node], [models.floats("x")], [models.floats("y", [1, 1])])
    runner = OnnxRunner(models.float_package(tmp_path, model))
    with pytest.raises(PackageError, match=r"answers 2 rows with tensors of \{'y': \(1, 1\)\}"):
        runner.predict({"x": [1.0, 2.0]}, 2)


def test_a_classification_names_its_classes(tmp_path: Path) -> None:
    runner = load_runner(trained.multiclass_package(tmp_path), batch_size=8)
    _, probabilities = trained.multiclass_model()
    columns = runner.predict({"x0": [0.5], "x1": [-1.0]}, 1).columns
    assert columns["probabilities"][0] == pytest.approx(
        dict(zip(trained.CLASSES, probabilities, strict=True)), abs=1e-5
    )
    assert columns["label"] == [max(columns["probabilities"][0], key=columns["probabilities"][0].__getitem__)]


def test_a_classification_can_take_the_models_own_label(tmp_path: Path) -> None:
    runner = load_runner(trained.multiclass_package(tmp_path, label=OutputColumn(tensor="label")), batch_size=8)
    assert runner.predict({"x0": [9.0], "x1": [9.0]}, 1).columns["label"] == ["2"]
