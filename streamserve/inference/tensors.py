"""Input columns to the tensors of one run, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamserve.errors import PlanError
from streamserve.inference.columns import Column, ColumnReader, Faults
from streamserve.inference.manifest import Dtype, Manifest, TensorSpec

__all__ = ["Feeds", "TensorBatch", "TensorBuilder"]

Feeds: TypeAlias = Mapping[str, NDArray[Any]]
"""Tensors by name; the first dimension is the row."""

_NUMPY: Mapping[Dtype, Any] = {
    "float32": np.float32,
    "float64": np.float64,
    "int64": np.int64,
    "bool": np.bool_,
    "string": np.object_,
}


@dataclass(frozen=True, slots=True)
class TensorBatch:
    """The tensors of the ``count`` rows that can be scored.

    ``rows`` are their places in the batch that came in, ``None`` when all of it is here. ``faults`` are the others.
    """

    feeds: Feeds
    count: int
    rows: NDArray[np.intp] | None
    faults: Mapping[int, str]


class TensorBuilder:
    """Builds the tensors that a manifest declares."""

    def __init__(self, manifest: Manifest) -> None:
        self._model = f"{manifest.name} {manifest.version}"
        used = {tensor.dtype for tensor in manifest.tensors}
        self._stages = [_Stage(manifest, dtype) for dtype in _NUMPY if dtype in used]

    def build(self, columns: Mapping[str, Column], size: int) -> TensorBatch:
        """Return the tensors of ``size`` rows; rows that break the manifest's rules are left out of them.

        Raises:
            PlanError: a column is not there or has another length.
        """
        faults: dict[int, str] = {}
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # numbers too large become infinite, and are refused
                filled = [stage.fill(columns, size, faults) for stage in self._stages]
        except (KeyError, ValueError) as error:
            raise PlanError(self._complain(columns, size)) from error
        rows = None
        if faults:
            rows = np.setdiff1d(np.arange(size), list(faults))
            filled = [values[:, rows] for values in filled]
        feeds: dict[str, NDArray[Any]] = {}
        for stage, values in zip(self._stages, filled, strict=True):
            feeds.update(stage.tensors(values))
        return TensorBatch(feeds, size - len(faults), rows, faults)

    def _complain(self, columns: Mapping[str, Column], size: int) -> str:
        names = [reader.spec.name for stage in self._stages for reader in stage.readers]
        absent = [name for name in names if name not in columns]
        unlike = [name for name in names if name in columns and len(columns[name]) != size]
        return (
            f"model {self._model} was asked for {size} rows; inputs not given: {absent}, of other lengths: {unlike}; "
            "declare what the model needs in app.model(inputs=...)"
        )


class _Stage:
    """All columns of one dtype, side by side: one check for the lot, and most tensors are views of it."""

    def __init__(self, manifest: Manifest, dtype: Dtype) -> None:
        self._dtype = _NUMPY[dtype]
        self._is_float = dtype.startswith("float")
        self.readers: list[ColumnReader] = []
        self._places: list[tuple[TensorSpec, int, int]] = []
        for tensor in manifest.tensors:
            if tensor.dtype == dtype:
                start = len(self.readers)
                self.readers += [ColumnReader(column) for column in manifest.columns_of(tensor)]
                self._places.append((tensor, start, len(self.readers)))
        self._ranged = [
            (index, reader)
            for index, reader in enumerate(self.readers)
            if reader.spec.minimum is not None or reader.spec.maximum is not None
        ]

    def fill(self, columns: Mapping[str, Column], size: int, faults: Faults) -> NDArray[Any]:
        """Return an array of one line per input, ``size`` long."""
        values = np.empty((len(self.readers), size), self._dtype)
        for line, reader in zip(values, self.readers, strict=True):
            column = columns[reader.spec.name]
            if len(column) != size:
                raise ValueError(reader.spec.name)
            line[:] = reader.read(column, faults)
        if self._is_float and not np.isfinite(values).all():
            for line, reader in zip(values, self.readers, strict=True):
                reader.settle(line, faults)
        for index, reader in self._ranged:
            reader.check_range(values[index], faults)
        return values

    def tensors(self, values: NDArray[Any]) -> Feeds:
        """Return the tensors that ``values`` hold, each in its layout."""
        return {tensor.name: _laid_out(values[start:stop], tensor) for tensor, start, stop in self._places}


def _laid_out(lines: NDArray[Any], tensor: TensorSpec) -> NDArray[Any]:
    if tensor.layout == "vector":
        return lines[0]
    return np.ascontiguousarray(lines.T)
