"""From a trained scikit-learn model to a version that serves, in one call of a training script."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from streamserve.errors import ConfigurationError
from streamserve.inference.baseline import build_baseline
from streamserve.inference.columns import Column
from streamserve.inference.manifest import (
    BinaryOutput,
    ClassificationOutput,
    GoldenSample,
    InputSpec,
    OutputColumn,
    OutputSpec,
    RegressionOutput,
    TensorSpec,
)
from streamserve.inference.onnx import load_runner
from streamserve.inference.package import load_package, write_package
from streamserve.inference.registry import Registry

__all__ = ["publish_sklearn"]

_OPSET = 18
"""The ONNX operators that the converter may use: those of 2022, which every supported onnxruntime knows."""
_TENSOR = "X"
_GOLDEN_ROWS = 20


def publish_sklearn(
    model: Any,
    name: str,
    columns: Mapping[str, Column],
    *,
    registry: str | Path,
    version: str | None = None,
    alias: str | None = "champion",
    missing: Literal["reject", "nan"] = "reject",
) -> str:
    """Write a fitted scikit-learn model into ``registry`` as its next version, which ``alias`` then means; return it.

    ``columns`` is the training data: the model's inputs by name, numbers, in the order in which the model was fitted.
    The manifest gets them as inputs and as the baseline of drift, and answers of ``model`` to 20 of their rows as the
    golden sample. A classifier of two classes answers as ``Binary`` (the probability of the second of ``classes_``), of
    more as ``Classification``, and a regressor as ``Regression``. ``missing="nan"`` is for models that take NaN.

    Inputs reach the model as 32-bit floats. For strings, tables or other converters use ``write_package``.

    Raises:
        ConfigurationError: skl2onnx is not installed.
        PackageError: the version exists, or the converted model does not answer as ``model`` does; then the version is
            there, but nothing means it.
    """
    rows = np.column_stack([np.asarray(values, np.float64) for values in columns.values()]).astype(np.float32)
    output, answers = _answers(model, rows)
    chosen = version or _next_version(registry, name)
    sample = np.unique(np.linspace(0, len(rows) - 1, _GOLDEN_ROWS).astype(int)).tolist()
    package = write_package(
        registry,
        name=name,
        version=chosen,
        onnx=_to_onnx(model, rows),
        inputs=[InputSpec(name=column, type="float", tensor=_TENSOR, missing=missing) for column in columns],
        tensors=[TensorSpec(name=_TENSOR, dtype="float32", layout="matrix")],
        output=output,
        golden=GoldenSample(
            rows=tuple(dict(zip(columns, map(_plain, rows[row].tolist()), strict=True)) for row in sample),
            expected=tuple({field: values[row] for field, values in answers.items()} for row in sample),
        ),
        baseline=build_baseline({**columns, **_described(answers)}),
    )
    load_runner(load_package(package))
    if alias is not None:
        Registry(registry).set_alias(name, alias, chosen)
    return chosen


def _to_onnx(model: Any, rows: NDArray[np.float32]) -> bytes:
    """Return the converted model; its outputs are named as skl2onnx does it."""
    try:
        from skl2onnx import to_onnx
    except ImportError as error:
        raise ConfigurationError('models are converted by skl2onnx: pip install "streamserve[train]"') from error
    options = {"zipmap": False} if hasattr(model, "predict_proba") else None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # the converter's own
        return to_onnx(model, rows[:1], options=options, target_opset=_OPSET).SerializeToString()


def _answers(model: Any, rows: NDArray[np.float32]) -> tuple[OutputSpec, dict[str, Sequence[Any]]]:
    """Return what kind of answer ``model`` gives and where the converted one has it, and its answers by field."""
    if not hasattr(model, "predict_proba"):
        values: list[float] = np.asarray(model.predict(rows), np.float64).ravel().tolist()
        return RegressionOutput(value=OutputColumn(tensor="variable", column=0)), {"value": values}
    found: NDArray[np.float64] = np.asarray(model.predict_proba(rows), np.float64)
    names = [str(each) for each in model.classes_]
    if len(names) == 2:  # noqa: PLR2004 - the second is the positive one
        positive: list[float] = found[:, 1].tolist()
        spec = BinaryOutput(probability=OutputColumn(tensor="probabilities", column=1))
        return spec, {"label": [each > spec.threshold for each in positive], "probability": positive}
    most_probable: list[int] = found.argmax(axis=1).tolist()
    labels = [names[each] for each in most_probable]
    probabilities = [dict(zip(names, row, strict=True)) for row in found.tolist()]
    many = ClassificationOutput(probabilities=OutputColumn(tensor="probabilities"), classes=tuple(names))
    return many, {"label": labels, "probabilities": probabilities}


def _described(answers: Mapping[str, Sequence[Any]]) -> dict[str, Column]:
    """Return the answers that a monitor can watch: one value a row."""
    return {field: np.asarray(values) for field, values in answers.items() if field != "probabilities"}


def _next_version(registry: str | Path, name: str) -> str:
    """Return the number after the largest that is a version's name."""
    return str(1 + max((int(each) for each in Registry(registry).versions(name) if each.isdecimal()), default=0))


def _plain(value: float) -> float | None:
    return None if math.isnan(value) else value
