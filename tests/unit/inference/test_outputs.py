from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import BaseModel

from streamserve.errors import ModelRowError, PackageError
from streamserve.inference.manifest import (
    BinaryOutput,
    ClassificationOutput,
    CustomOutput,
    OutputColumn,
    OutputSpec,
    RegressionOutput,
)
from streamserve.inference.outputs import OutputReader, check_output, typed_outputs
from streamserve.inference.runner import Scores
from streamserve.records import Binary, Classification, Regression

Y = OutputColumn(tensor="y")


def read(spec: OutputSpec, **arrays: NDArray[Any]) -> tuple[Mapping[str, Any], dict[int, str]]:
    kinds: dict[str, type] = {"f": float, "i": int, "b": bool, "O": str}
    reader = OutputReader(spec, {name: kinds[array.dtype.kind] for name, array in arrays.items()})
    faults: dict[int, str] = {}
    return {name: list(column) for name, column in reader.read(arrays, faults).items()}, faults


@pytest.mark.parametrize("shape", [(3,), (3, 1)])
def test_one_value_a_row_is_read_from_a_vector_or_a_column(shape: tuple[int, ...]) -> None:
    array = np.array([1, 2, 3], np.float32).reshape(shape)
    assert read(RegressionOutput(value=Y), y=array) == ({"value": [1.0, 2.0, 3.0]}, {})


def test_a_label_is_a_probability_above_the_threshold() -> None:
    third = float(np.float32(0.3))
    array = np.array([[0.7, 0.3], [0.5, 0.5]], np.float32)
    spec = BinaryOutput(probability=OutputColumn(tensor="y", column=1), threshold=third)
    assert read(spec, y=array)[0] == {"label": [False, True], "probability": [third, 0.5]}


def test_a_probability_that_rounding_carried_over_the_edge_is_clipped() -> None:
    over, under = np.nextafter(np.float32(1), np.float32(2)), np.float32(-1e-9)
    assert float(over) > 1
    found, faults = read(BinaryOutput(probability=Y), y=np.array([over, under, 0.25], np.float32))
    assert (found, faults) == ({"label": [True, False, False], "probability": [1.0, 0.0, 0.25]}, {})
    many, _ = read(ClassificationOutput(probabilities=Y, classes=("a", "b")), y=np.array([[over, under]]))
    assert many == {"label": ["a"], "probabilities": [{"a": 1.0, "b": 0.0}]}


def test_the_first_most_probable_class_is_the_label() -> None:
    array = np.array([[0.25, 0.5, 0.25], [0.5, 0.5, 0.0]], np.float32)
    columns, _ = read(ClassificationOutput(probabilities=Y, classes=("a", "b", "c")), y=array)
    assert columns["label"] == ["b", "a"]
    assert columns["probabilities"][0] == {"a": 0.25, "b": 0.5, "c": 0.25}


def test_custom_fields_are_read_each_from_its_place() -> None:
    spec = CustomOutput(columns={"low": OutputColumn(tensor="y", column=0), "all": Y, "name": OutputColumn(tensor="z")})
    columns, _ = read(spec, y=np.array([[1.0, 2.0]]), z=np.array(["a"], object))
    assert columns == {"low": [1.0], "all": [[1.0, 2.0]], "name": ["a"]}
    reader = OutputReader(spec, {"y": float, "z": str})
    assert reader.tensors == ("y", "z")
    assert reader.types == {"low": float, "all": float, "name": str}


def test_rows_that_are_not_finite_are_named() -> None:
    array = np.array([[0.5, 0.5], [np.nan, 0.5], [0.5, np.inf]], np.float32)
    assert read(CustomOutput(columns={"all": Y}), y=array)[1] == {
        1: "output 'all' is not finite",
        2: "output 'all' is not finite",
    }


@pytest.mark.parametrize(
    ("spec", "shape"),
    [
        (RegressionOutput(value=OutputColumn(tensor="y", column=2)), (4, 2)),
        (RegressionOutput(value=OutputColumn(tensor="y", column=1)), (4,)),
        (RegressionOutput(value=Y), (4, 2, 2)),
        (RegressionOutput(value=Y), (4, 2)),
        (BinaryOutput(probability=Y), (4, 2)),
        (ClassificationOutput(probabilities=Y, classes=("a", "b")), (4, 3)),
        (ClassificationOutput(probabilities=Y, classes=("a", "b")), (4,)),
    ],
)
def test_tensors_of_another_shape_are_a_fault_of_the_package(spec: OutputSpec, shape: tuple[int, ...]) -> None:
    with pytest.raises(PackageError, match="shape"):
        read(spec, y=np.zeros(shape, np.float32))


def test_tensors_of_another_type_are_a_fault_of_the_package() -> None:
    with pytest.raises(PackageError, match="value is read from a tensor of str"):
        read(RegressionOutput(value=Y), y=np.array(["a"], object))


@dataclass
class Span:
    high: float
    low: float
    unit: str = "min"
    notes: list[str] = field(default_factory=list[str])


@dataclass(kw_only=True)
class Named:
    low: float


class Model(BaseModel):
    low: float


ANSWERS = Scores({"low": [1.0, 2.0], "high": [3.0, 4.0]}, {})


def test_answers_become_the_users_type_by_name() -> None:
    assert typed_outputs(Span, ANSWERS) == [Span(high=3.0, low=1.0), Span(high=4.0, low=2.0)]
    assert typed_outputs(Named, ANSWERS) == [Named(low=1.0), Named(low=2.0)]
    assert typed_outputs(Model, ANSWERS) == [Model(low=1.0), Model(low=2.0)]
    assert typed_outputs(Binary, Scores({"probability": [0.9], "label": [True]}, {})) == [
        Binary(label=True, probability=0.9)
    ]


def test_a_refused_row_keeps_its_error() -> None:
    error = ModelRowError("missing")
    assert typed_outputs(Named, Scores(ANSWERS.columns, {1: error})) == [Named(low=1.0), error]


def test_types_that_the_answers_fit_are_no_problem() -> None:
    assert check_output(Span, ANSWERS.columns) == []
    assert check_output(Named, ANSWERS.columns) == []
    assert check_output(Classification, {"label": str, "probabilities": dict}) == []


def test_types_that_the_answers_do_not_fit_are_told() -> None:
    assert check_output(Binary, {"value": float}) == [
        "Binary needs 'label', and the model answers with 'value'",
        "Binary needs 'probability', and the model answers with 'value'",
    ]
    assert check_output(Regression, {"label": str}) != []
    assert check_output(object, {"value": float}) == ["object takes none of the model's answers: 'value'"]
    assert check_output(int, {"value": float}) == ["int can't be made from fields: use a dataclass"]
