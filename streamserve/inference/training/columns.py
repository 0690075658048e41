"""Training data by column: what kind each holds, and in which order the model takes them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamserve.errors import ConfigurationError, PackageError
from streamserve.inference.columns import Column

__all__ = ["TRAIN_EXTRA", "TrainingColumns", "training_columns"]

TRAIN_EXTRA = 'pip install "streamserve[train]"'

_NUMBERS = "fiub"
_Numbers: TypeAlias = int | float | np.number | np.bool_


@dataclass(frozen=True, slots=True)
class TrainingColumns:
    """Columns of one length in the model's order: ``float64`` with NaN for what is missing, or ``object`` of strings.

    ``is_table`` says that the model was fitted on a table with these names, and is to be asked with one.
    """

    arrays: Mapping[str, NDArray[Any]]
    is_table: bool

    @property
    def texts(self) -> frozenset[str]:
        """The names of the columns of strings."""
        return frozenset(name for name, array in self.arrays.items() if array.dtype == np.object_)

    @property
    def size(self) -> int:
        """How many rows there are."""
        return len(next(iter(self.arrays.values())))

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Which rows miss nothing."""
        gaps = [np.isnan(array) for name, array in self.arrays.items() if name not in self.texts]
        return ~np.any(gaps, axis=0) if gaps else np.ones(self.size, np.bool_)

    def as_served(self) -> Any:
        """Return the rows as the model takes them, their numbers in the 32 bits that serving has."""
        served = {
            name: array if name in self.texts else array.astype(np.float32) for name, array in self.arrays.items()
        }
        if not self.is_table:
            return np.column_stack(list(served.values()))
        try:
            import pandas as pd
        except ImportError as error:
            raise ConfigurationError(f"a model fitted on a table is asked with pandas: {TRAIN_EXTRA}") from error
        return pd.DataFrame(served)

    def row(self, index: int) -> dict[str, float | str | None]:
        """Return one row by name, ``None`` for what is missing."""
        texts = self.texts
        return {
            name: array[index] if name in texts else _plain(float(np.float32(array[index])))
            for name, array in self.arrays.items()
        }


def training_columns(model: Any, columns: Mapping[str, Column]) -> TrainingColumns:
    """Return ``columns`` as ``model`` takes them.

    A model that was fitted on a table has names, ``feature_names_in_``: its columns are found by them and put into its
    order. Any other takes them in the order given.

    Raises:
        PackageError: the columns are others than the model's, or hold what no input can be.
    """
    names = _names_of(model)
    ordered = list(columns) if names is None else _by_name(names, columns)
    taken = getattr(model, "n_features_in_", len(ordered))
    if taken != len(ordered):
        raise PackageError(
            f"the model was fitted on {taken} columns, and is given {len(ordered)}: {', '.join(ordered) or 'none'};"
            " give all columns of the training data, in its order"
        )
    arrays = {name: _typed(name, columns[name]) for name in ordered}
    lengths = {name: len(array) for name, array in arrays.items()}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise PackageError(f"columns need rows, and all as many; received {lengths}")
    return TrainingColumns(arrays, is_table=names is not None)


def _names_of(model: Any) -> list[str] | None:
    """Return the names of the columns that the model was fitted on, if it was fitted on a table."""
    names = getattr(model, "feature_names_in_", None)
    return None if names is None else [str(name) for name in names]


def _by_name(names: list[str], columns: Mapping[str, Column]) -> list[str]:
    if set(names) != set(columns):
        raise PackageError(
            f"the model was fitted on the columns {', '.join(names)}, and is given {', '.join(columns) or 'none'};"
            " give those of the training data under the same names, which are also those of events and features"
        )
    return names


def _typed(name: str, values: Column) -> NDArray[Any]:
    """Return numbers as ``float64``, strings as objects.

    Raises:
        PackageError: the column holds something else, a mixture, or nothing that could stand for a missing string.
    """
    given: NDArray[Any] = np.asarray(values) if hasattr(values, "dtype") else _objects(values)
    if given.ndim != 1:
        raise PackageError(f"column {name!r} has shape {given.shape}: give one value a row")
    if given.dtype.kind in _NUMBERS:
        return _numbers(name, given)
    members: list[Any] = given.astype(object).tolist()
    present = [value for value in members if not _is_missing(value)]
    if present and all(isinstance(value, str) for value in present):
        return _texts(name, members, len(members) - len(present))
    if given.dtype.kind == "O" and all(isinstance(value, _Numbers) for value in present):
        return _numbers(name, np.array([np.nan if _is_missing(value) else value for value in members], np.float64))
    kinds = ", ".join(sorted({type(value).__name__ for value in present}))
    raise PackageError(f"column {name!r} holds {kinds}: give numbers, booleans or strings, not a mixture")


def _objects(values: Column) -> NDArray[Any]:
    """Return a list as an array; NumPy alone would make strings of numbers among strings."""
    array = np.empty(len(values), object)
    array[:] = values
    return array


def _numbers(name: str, given: NDArray[Any]) -> NDArray[np.float64]:
    numbers = given.astype(np.float64)
    with np.errstate(over="ignore"):
        infinite = int(np.isinf(numbers.astype(np.float32)).sum())
    if infinite:
        raise PackageError(
            f"column {name!r} has {infinite} values that are infinite or too large for 32 bits, which are refused when"
            " they are served: leave their rows out"
        )
    return numbers


def _texts(name: str, members: list[Any], missing: int) -> NDArray[Any]:
    if missing:
        raise PackageError(
            f"column {name!r} lacks {missing} of its strings, for which ONNX has no sign: fill them before the model is"
            " fitted, with '' for example, or publish it with write_package, whose inputs may have a default"
        )
    return _objects([str(value) for value in members])


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124 - only NaN differs from itself


def _plain(value: float) -> float | None:
    return None if np.isnan(value) else value
