from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from streamserve.inference.manifest import GoldenSample, InputSpec, Manifest, OutputColumn, RegressionOutput, TensorSpec


def manifest(inputs: list[InputSpec], tensors: list[TensorSpec], **changes: Any) -> Manifest:
    golden = GoldenSample(rows=({column.name: None for column in inputs},), expected=({"value": 0.0},))
    output = RegressionOutput(value=OutputColumn(tensor="y"))
    parts: dict[str, Any] = {"output": output, "golden": golden, **changes}
    return Manifest(name="m", version="1", sha256="0" * 64, inputs=tuple(inputs), tensors=tuple(tensors), **parts)


def test_a_matrix_takes_its_columns_in_the_manifests_order() -> None:
    inputs = [InputSpec(name=name, type="float", tensor=tensor) for name, tensor in ("bX", "cZ", "aX")]
    tensors = [TensorSpec(name="X", dtype="float32", layout="matrix"), TensorSpec(name="Z", dtype="float32")]
    built = manifest(inputs, tensors)
    assert [column.name for column in built.columns_of(tensors[0])] == ["b", "a"]


@pytest.mark.parametrize(
    ("rules", "problem"),
    [
        ({"missing": "default"}, "go together"),
        ({"default": 1.0}, "go together"),
        ({"missing": "default", "default": "a"}, "the default of a float is a str"),
        ({"missing": "default", "default": True}, "the default of a float is a bool"),
        ({"missing": "default", "default": 2.0, "maximum": 1.0}, "the default is outside"),
        ({"type": "str", "minimum": 1.0}, "for numbers, not for str"),
        ({"minimum": float("inf")}, "finite"),
        ({"type": "datetime"}, "Input should be"),
    ],
)
def test_an_input_with_rules_that_contradict_is_refused(rules: dict[str, Any], problem: str) -> None:
    with pytest.raises(ValidationError, match=problem):
        InputSpec.model_validate({"name": "x", "type": "float", **rules})


@pytest.mark.parametrize(
    ("spec", "tensor", "problem"),
    [
        ({"type": "str"}, {"dtype": "float32"}, "is a str, which tensor 'x' of float32 can't take"),
        ({"type": "float"}, {"dtype": "int64"}, "is a float, which tensor 'x' of int64 can't take"),
        ({"type": "int", "missing": "nan"}, {"dtype": "int64"}, 'missing="nan" needs a tensor of floats'),
        ({"type": "float", "tensor": "z"}, {"dtype": "float32"}, "which is not declared.*is fed by 0 inputs"),
    ],
)
def test_inputs_and_tensors_that_do_not_fit_are_refused(
    spec: dict[str, Any], tensor: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ValidationError, match=problem):
        manifest([InputSpec(name="x", **spec)], [TensorSpec(name="x", **tensor)])


def test_a_column_tensor_takes_one_input_only() -> None:
    inputs = [InputSpec(name=name, type="float", tensor="X") for name in "ab"]
    with pytest.raises(ValidationError, match="is a column and is fed by 2 inputs"):
        manifest(inputs, [TensorSpec(name="X", dtype="float32")])


def test_names_are_declared_once() -> None:
    inputs = [InputSpec(name="x", type="float", tensor="X")] * 2
    with pytest.raises(ValidationError, match="'x' is declared 2 times"):
        manifest(inputs, [TensorSpec(name="X", dtype="float32", layout="matrix")])


def golden(rows: list[dict[str, Any]], expected: list[dict[str, Any]]) -> dict[str, Any]:
    return {"rows": rows, "expected": expected}


@pytest.mark.parametrize(
    ("sample", "problem"),
    [
        (golden([], []), "at least 1"),
        (golden([{"x": 1}], []), "1 rows and 0 answers"),
        (golden([{"z": 1}], [{"value": 1}]), r"golden row 0 differs from the signature in \['x', 'z'\]"),
        (golden([{"x": 1}], [{}]), r"golden answer 0 differs from the signature in \['value'\]"),
    ],
)
def test_a_golden_sample_that_shows_nothing_is_refused(sample: dict[str, Any], problem: str) -> None:
    inputs, tensors = [InputSpec(name="x", type="float")], [TensorSpec(name="x", dtype="float32")]
    with pytest.raises(ValidationError, match=problem):
        manifest(inputs, tensors, golden=sample)
