"""From a scikit-learn model to ONNX; the home of skl2onnx."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from streamserve.errors import ConfigurationError, PackageError
from streamserve.inference.manifest import TensorSpec
from streamserve.inference.training.answers import is_classifier
from streamserve.inference.training.columns import TRAIN_EXTRA, TrainingColumns

if TYPE_CHECKING:
    from skl2onnx import ModelProto
    from skl2onnx.common.data_types import TensorType

__all__ = ["Converted", "convert"]

_OPSET = 18
"""The ONNX operators that the converter may use: those of 2022, which every supported onnxruntime knows."""
_MATRIX = "X"


@dataclass(frozen=True, slots=True)
class Converted:
    """An ONNX graph, the tensors that it takes, which of them each column feeds, and the names of its outputs."""

    onnx: bytes
    tensors: tuple[TensorSpec, ...]
    feeds: tuple[str, ...]
    outputs: tuple[str, ...]


def convert(model: Any, columns: TrainingColumns) -> Converted:
    """Return ``model`` as ONNX.

    Numbers alone come as one matrix, which is the fastest to fill. Strings, and models that choose columns by name, get
    a tensor for each column.

    Raises:
        ConfigurationError: skl2onnx is not installed.
        PackageError: it does not know how to convert the model.
    """
    if columns.texts or (columns.is_table and _chooses_columns(model)):
        graph = _to_onnx(model, list(_typed_inputs(columns)))
        names = tuple(each.name for each in graph.graph.input)  # the converter renames what is no identifier
        tensors = tuple(
            TensorSpec(name=name, dtype="string" if column in columns.texts else "float32")
            for name, column in zip(names, columns.arrays, strict=True)
        )
        feeds = names
    else:
        graph = _to_onnx(model, [(_MATRIX, _floats(len(columns.arrays)))])
        tensors = (TensorSpec(name=_MATRIX, dtype="float32", layout="matrix"),)
        feeds = (_MATRIX,) * len(columns.arrays)
    return Converted(graph.SerializeToString(), tensors, feeds, tuple(each.name for each in graph.graph.output))


def _chooses_columns(model: Any) -> bool:
    from sklearn.compose import ColumnTransformer

    parts = [model, *model.get_params(deep=True).values()]
    return any(isinstance(part, ColumnTransformer) for part in parts)


def _typed_inputs(columns: TrainingColumns) -> Iterator[tuple[str, TensorType]]:
    from skl2onnx.common.data_types import StringTensorType

    for name in columns.arrays:
        yield name, StringTensorType([None, 1]) if name in columns.texts else _floats(1)


def _floats(width: int) -> TensorType:
    try:
        from skl2onnx.common.data_types import FloatTensorType
    except ImportError as error:
        raise ConfigurationError(f"models are converted by skl2onnx: {TRAIN_EXTRA}") from error
    return FloatTensorType([None, width])


def _to_onnx(model: Any, inputs: Sequence[tuple[str, TensorType]]) -> ModelProto:
    from skl2onnx import to_onnx

    options = {"zipmap": False} if is_classifier(model) else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # the converter's own
            return to_onnx(model, initial_types=inputs, options=options, target_opset=_OPSET)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise PackageError(
            f"skl2onnx does not convert this {type(model).__name__} ({type(error).__name__}: {reason}); let a"
            " ColumnTransformer encode the columns of strings and only these, choose another preprocessing, or convert"
            " it by other means and publish it with write_package"
        ) from error
