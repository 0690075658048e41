"""One call from a fitted model to a version in a registry."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from streamserve.errors import PackageError
from streamserve.inference.baseline import build_baseline
from streamserve.inference.columns import Column
from streamserve.inference.manifest import GoldenSample, InputSpec
from streamserve.inference.onnx import load_runner
from streamserve.inference.package import load_package, write_package
from streamserve.inference.registry import Registry
from streamserve.inference.training.answers import Answers, answers_of
from streamserve.inference.training.columns import TrainingColumns, training_columns
from streamserve.inference.training.conversion import Converted, convert

__all__ = ["publish_sklearn"]

_GOLDEN_ROWS = 20
_TWO = 2


def publish_sklearn(
    model: Any,
    name: str,
    columns: Mapping[str, Column],
    *,
    registry: str | Path,
    version: str | None = None,
    alias: str | None = "champion",
    missing: Literal["reject", "nan"] = "reject",
    positive: str | None = None,
) -> str:
    """Write a fitted scikit-learn model into ``registry`` as its next version, which ``alias`` then means; return it.

    ``columns`` is the training data: the model's inputs by name, numbers or strings, one value a row. A model that was
    fitted on a table takes them by name, whatever their order here; one that was fitted on an array has no names, so
    they are given in the array's order. The manifest gets them as inputs and as the baseline of drift, and answers of
    ``model`` to 20 of their rows as the golden sample.

    A classifier of two classes answers as ``Binary``: the label is whether the class ``positive`` is more probable than
    not, and the probability is its. Without ``positive`` that is the second of ``classes_``, which scikit-learn sorts:
    ``True``, ``1``, or what comes last in the alphabet, of which a warning tells. More classes answer as
    ``Classification``, a regressor as ``Regression``.

    Numbers reach the model as 32-bit floats. ``missing="nan"`` is for models that take NaN in them; a missing string is
    always refused. For other types, defaults, tables of outputs or other converters use ``write_package``.

    Raises:
        ConfigurationError: skl2onnx is not installed, or pandas for a model that was fitted on a table.
        PackageError: the columns are not the model's, it cannot be converted, the version exists, or the converted
            model does not answer as ``model`` does; then the version is there, but nothing means it.
    """
    data = training_columns(model, columns)
    answers = answers_of(model, data, positive)
    if positive is None and (told := _chosen_silently(model, name)):
        warnings.warn(told, stacklevel=2)
    converted = convert(model, data)
    chosen = version or _next_version(registry, name)
    package = write_package(
        registry,
        name=name,
        version=chosen,
        onnx=converted.onnx,
        inputs=_inputs(data, converted, missing),
        tensors=converted.tensors,
        output=answers.output(converted.outputs),
        golden=_golden(data, answers, missing),
        baseline=build_baseline({**data.arrays, **_described(answers.fields)}),
    )
    load_runner(load_package(package))
    if alias is not None:
        Registry(registry).set_alias(name, alias, chosen)
    return chosen


def _inputs(data: TrainingColumns, converted: Converted, missing: Literal["reject", "nan"]) -> list[InputSpec]:
    return [
        InputSpec(name=column, type="str", tensor=tensor)
        if column in data.texts
        else InputSpec(name=column, type="float", tensor=tensor, missing=missing)
        for column, tensor in zip(data.arrays, converted.feeds, strict=True)
    ]


def _golden(data: TrainingColumns, answers: Answers, missing: Literal["reject", "nan"]) -> GoldenSample:
    """Return rows spread over those that will be served, of these over those with a clear answer if there are any.

    Raises:
        PackageError: every row misses something.
    """
    servable = data.complete if missing == "reject" else np.ones_like(answers.clear)
    if not servable.any():
        raise PackageError('every row misses a value, so none would be served: missing="nan" hands NaN to the model')
    clear = servable & answers.clear
    rows = np.flatnonzero(clear if clear.any() else servable)
    sample: list[int] = rows[np.unique(np.linspace(0, len(rows) - 1, _GOLDEN_ROWS).astype(int))].tolist()
    return GoldenSample(
        rows=tuple(map(data.row, sample)),
        expected=tuple({field: values[row] for field, values in answers.fields.items()} for row in sample),
    )


def _described(answers: Mapping[str, Sequence[Any]]) -> dict[str, Column]:
    """Return the answers that a monitor can watch: one value a row."""
    return {field: np.asarray(values) for field, values in answers.items() if field != "probabilities"}


def _next_version(registry: str | Path, name: str) -> str:
    """Return the number after the largest that is a version's name."""
    return str(1 + max((int(each) for each in Registry(registry).versions(name) if each.isdecimal()), default=0))


def _chosen_silently(model: Any, name: str) -> str | None:
    """Return what is said where the alphabet decided which of two named classes is the positive one."""
    classes: list[Any] = list(getattr(model, "classes_", ()))
    if len(classes) != _TWO or not all(isinstance(each, str) for each in classes):
        return None
    other, taken = map(str, classes)
    return (
        f"model {name!r}: label is True for {taken!r}, and probability is its, because it comes after {other!r} in the"
        f" alphabet; say which is meant: positive={taken!r} or positive={other!r}"
    )
