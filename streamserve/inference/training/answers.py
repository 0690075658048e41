"""What a scikit-learn model answers to its training data, and where its ONNX graph will have that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamserve.errors import PackageError
from streamserve.inference.manifest import (
    BinaryOutput,
    ClassificationOutput,
    OutputColumn,
    OutputSpec,
    RegressionOutput,
)
from streamserve.inference.training.columns import TrainingColumns

__all__ = ["Answers", "answers_of", "is_classifier"]

_HALF = 0.5
_CLOSE = 1e-4
"""Nearer to a tie than this, 32 bits may decide otherwise than 64 did."""
_TWO = 2


@dataclass(frozen=True, slots=True)
class Answers:
    """One value a row in each of ``fields``; ``clear`` are the rows whose label does not hang on rounding.

    ``output`` makes the manifest's output of the names of the graph's output tensors.
    """

    fields: Mapping[str, Sequence[Any]]
    clear: NDArray[np.bool_]
    output: Callable[[Sequence[str]], OutputSpec]


def is_classifier(model: Any) -> bool:
    """Return whether ``model`` tells probabilities of classes."""
    return hasattr(model, "predict_proba")


def answers_of(model: Any, data: TrainingColumns, positive: str | None) -> Answers:
    """Return what ``model`` answers to ``data``; ``positive`` is the class of two whose probability is told.

    Raises:
        PackageError: the model refuses the rows, tells classes without probabilities, or has no class ``positive``.
    """
    if is_classifier(model):
        found = _asked(model.predict_proba, data)
        classes = tuple(str(each) for each in model.classes_)
        if found.shape != (data.size, len(classes)):
            raise _unlike(found)
        return _of_two(found, classes, positive) if len(classes) == _TWO else _of_many(found, classes, positive)
    if hasattr(model, "classes_"):
        raise PackageError(
            f"{type(model).__name__} tells classes without probabilities: fit one that has predict_proba, as"
            " CalibratedClassifierCV gives it, or publish it with write_package"
        )
    values = _asked(model.predict, data)
    if values.size != data.size:
        raise _unlike(values)
    return Answers(
        {"value": values.ravel().tolist()},
        np.ones(data.size, np.bool_),
        lambda tensors: RegressionOutput(value=OutputColumn(tensor=tensors[0], column=0)),
    )


def _asked(predict: Callable[[Any], Any], data: TrainingColumns) -> NDArray[np.float64]:
    rows = data.as_served()
    try:
        return np.asarray(predict(rows), np.float64)
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        strings = f", of which {', '.join(sorted(data.texts))} hold strings" if data.texts else ""
        raise PackageError(
            f"the model refuses the columns {', '.join(data.arrays)}{strings} ({type(error).__name__}: {reason}); give"
            " them as they were when it was fitted, or publish it with write_package, where every input has a type"
        ) from error


def _unlike(found: NDArray[Any]) -> PackageError:
    return PackageError(
        f"the model answers with shape {found.shape}, where one value or one probability a class is expected;"
        " publish it with write_package, whose output may have several values"
    )


def _of_two(found: NDArray[np.float64], classes: tuple[str, ...], positive: str | None) -> Answers:
    """Return answers of ``Binary``: the positive class is the second of the sorted ones unless another is named."""
    column = 1 if positive is None else _place(classes, positive)
    probability = found[:, column]

    def output(tensors: Sequence[str]) -> OutputSpec:
        place = OutputColumn(tensor=tensors[1], column=column)
        return BinaryOutput(probability=place, threshold=_HALF, classes=(classes[1 - column], classes[column]))

    fields = {"label": (probability > _HALF).tolist(), "probability": probability.tolist()}
    return Answers(fields, np.abs(probability - _HALF) > _CLOSE, output)


def _of_many(found: NDArray[np.float64], classes: tuple[str, ...], positive: str | None) -> Answers:
    if positive is not None:
        raise PackageError(f"positive= is for models of two classes, and this one has {', '.join(classes)}")
    best: list[int] = found.argmax(axis=1).tolist()
    second, first = np.sort(found, axis=1)[:, -2:].T if len(classes) > 1 else (found[:, 0] - 1, found[:, 0])
    fields: dict[str, Sequence[Any]] = {
        "label": [classes[each] for each in best],
        "probabilities": [dict(zip(classes, row, strict=True)) for row in found.tolist()],
    }
    return Answers(
        fields,
        first - second > _CLOSE,
        lambda tensors: ClassificationOutput(probabilities=OutputColumn(tensor=tensors[1]), classes=classes),
    )


def _place(classes: tuple[str, ...], positive: str) -> int:
    if positive not in classes:
        raise PackageError(f"positive={positive!r} is no class of the model: it has {' and '.join(classes)}")
    return classes.index(positive)
