"""Output tensors to columns of Python values, and columns to the user's type."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from inspect import Parameter, signature
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamserve.errors import ModelRowError, PackageError
from streamserve.inference.manifest import BinaryOutput, ClassificationOutput, OutputColumn, OutputSpec
from streamserve.inference.runner import Scores

__all__ = ["OutputReader", "check_output", "typed_outputs"]

P = TypeVar("P")


class OutputReader:
    """Reads the answers out of a run's tensors, by the manifest.

    ``element_types`` gives the Python type of the elements of each tensor the session offers. ``tensors`` are the
    names of those that are needed, ``types`` the answer's fields with their types.

    Probabilities are clipped to 0 to 1: sums of 32-bit floats, such as a forest's mean, end a little beyond. What is no
    probability at all, such as a logit, is found by the golden sample.

    Raises:
        PackageError: the manifest names a tensor that the session does not offer or whose type does not fit.
    """

    def __init__(self, spec: OutputSpec, element_types: Mapping[str, type]) -> None:
        self._spec = spec
        self._places = tuple(spec.columns.items())
        self.tensors = tuple(dict.fromkeys(place.tensor for _, place in self._places))
        for tensor in self.tensors:
            if tensor not in element_types:
                raise PackageError(f"output {tensor!r} is not one of the model's: {sorted(element_types)}")
        self._found = {name: element_types[place.tensor] for name, place in self._places}
        self.types = self._typed()

    def _typed(self) -> Mapping[str, Any]:
        if self._spec.kind == "custom":
            return self._found
        for name, found in self._found.items():
            fitting = {str, int} if name == "label" else {float}
            if found not in fitting:
                raise PackageError(f"{name} is read from a tensor of {found.__name__}, which does not fit")
        return {
            "binary": {"label": bool, "probability": float},
            "classification": {"label": str, "probabilities": Mapping[str, float]},
            "regression": {"value": float},
        }[self._spec.kind]

    def read(self, arrays: Mapping[str, NDArray[Any]], faults: dict[int, str]) -> Mapping[str, Sequence[Any]]:
        """Return one list of Python values per field; rows that are not finite are added to ``faults``.

        Raises:
            PackageError: a tensor has another shape than the manifest says.
        """
        custom = self._spec.kind == "custom"
        values = {
            name: _take(arrays[place.tensor], place, name, whole=custom or name == "probabilities")
            for name, place in self._places
        }
        for name, array in values.items():
            if array.dtype.kind == "f" and not np.isfinite(array).all():
                finite = np.isfinite(array).reshape(len(array), -1).all(axis=1)
                for row in np.flatnonzero(~finite).tolist():
                    faults.setdefault(row, f"output {name!r} is not finite")
        return self._fields(values)

    def _fields(self, values: Mapping[str, NDArray[Any]]) -> Mapping[str, Sequence[Any]]:
        match self._spec:
            case BinaryOutput(threshold=threshold):
                probability = values["probability"].astype(np.float64)  # what is published is what is compared
                np.clip(probability, 0, 1, out=probability)
                return {"label": (probability > threshold).tolist(), "probability": probability.tolist()}
            case ClassificationOutput(classes=classes):
                return _classified(values["probabilities"], values.get("label"), classes)
            case _:
                return {name: array.tolist() for name, array in values.items()}


def _take(array: NDArray[Any], place: OutputColumn, field: str, *, whole: bool) -> NDArray[Any]:
    """Return the field's part of ``array``: ``[N]``, or ``[N, k]`` where the ``whole`` of a matrix is asked for."""
    matrix = array.reshape(-1, 1) if array.ndim == 1 else array
    if matrix.ndim == 2:  # noqa: PLR2004 - rows and columns
        if place.column is not None and place.column < matrix.shape[1]:
            return matrix[:, place.column]
        if place.column is None and (whole or matrix.shape[1] == 1):
            return matrix if matrix.shape[1] > 1 else matrix[:, 0]
    where = "" if place.column is None else f"column {place.column} of "
    raise PackageError(
        f"{field} is read from {where}tensor {place.tensor!r}, whose shape is {array.shape}; "
        "one value a row is [N], [N, 1], or one column of [N, k]"
    )


def _classified(
    probabilities: NDArray[Any], label: NDArray[Any] | None, classes: tuple[str, ...]
) -> Mapping[str, Sequence[Any]]:
    if probabilities.ndim == 1 or probabilities.shape[1] != len(classes):
        raise PackageError(f"probabilities of shape {probabilities.shape} do not fit {len(classes)} classes")
    labels = _most_probable(probabilities, classes) if label is None else list(map(str, label))
    by_class = [dict(zip(classes, row, strict=True)) for row in probabilities.clip(0, 1).tolist()]
    return {"label": labels, "probabilities": by_class}


def _most_probable(probabilities: NDArray[Any], classes: tuple[str, ...]) -> list[str]:
    best: list[int] = probabilities.argmax(axis=1).tolist()
    return [classes[index] for index in best]


def typed_outputs(output: type[P], scores: Scores) -> list[P | ModelRowError]:
    """Return one ``output`` per row, or the row's error.

    ``output`` is a dataclass, a struct or another class whose constructor takes fields by name; those that the model
    answers with are given, the others must have defaults (see ``check_output``).

    >>> from streamserve.records import Regression
    >>> typed_outputs(Regression, Scores({"value": [1.5]}, {}))
    [Regression(value=1.5)]
    """
    make, names = _constructor(output, tuple(scores.columns))
    columns = [scores.columns[name] for name in names]
    if not scores.errors:
        return list(map(make, *columns))
    rows = enumerate(zip(*columns, strict=True))
    return [scores.errors[row] if row in scores.errors else make(*values) for row, values in rows]


@cache
def _constructor(output: Callable[..., P], answers: tuple[str, ...]) -> tuple[Callable[..., P], tuple[str, ...]]:
    """Return what makes one ``output`` of positional values, and the answers' names in that order."""
    parameters = _parameters(output)
    taken = [parameter for parameter in parameters if parameter.name in answers]
    names = tuple(parameter.name for parameter in taken)
    if taken == parameters[: len(taken)] and all(parameter.kind != Parameter.KEYWORD_ONLY for parameter in taken):
        return output, names
    return lambda *values: output(**dict(zip(names, values, strict=True))), names


def _parameters(output: Callable[..., Any]) -> list[Parameter]:
    return list(signature(output).parameters.values())


def check_output(output: type, outputs: Mapping[str, Any]) -> list[str]:
    """Return why answers with the fields ``outputs`` can't be made into ``output``; empty when they can.

    >>> from streamserve.records import Regression
    >>> check_output(Regression, {"label": bool, "probability": float})
    ["Regression needs 'value', and the model answers with 'label', 'probability'"]
    """
    answers = ", ".join(map(repr, outputs))
    try:
        parameters = _parameters(output)
    except ValueError:
        return [f"{output.__name__} can't be made from fields: use a dataclass"]
    needed = [parameter.name for parameter in parameters if parameter.default is Parameter.empty]
    problems = [
        f"{output.__name__} needs {name!r}, and the model answers with {answers}"
        for name in needed
        if name not in outputs
    ]
    if not problems and not any(parameter.name in outputs for parameter in parameters):
        return [f"{output.__name__} takes none of the model's answers: {answers}"]
    return problems
