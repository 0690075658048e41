"""One input column, from Python values to an array, by the manifest's rules.

Whole columns are packed at C speed. What does not pack is looked at again, first for ``None``, then value by value, so
that only the rows at fault are refused; both ways accept the same values.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from streamserve.inference.manifest import InputSpec, InputType

__all__ = ["Column", "ColumnReader", "Faults"]

Column: TypeAlias = Sequence[Any] | NDArray[Any]
"""The values of one input, one per row."""

Faults: TypeAlias = MutableMapping[int, str]
"""Why rows are refused, by row; the first rule that a row breaks is the one that is told."""

_MISSING = 'is missing: give it, or publish the model with missing="nan" or a default for it'
_REFUSALS = (TypeError, ValueError, OverflowError, struct.error)


def _pack_floats(values: Sequence[Any]) -> NDArray[Any]:
    # Twice as fast as numpy.array(values, float), and it does not read numbers out of strings.
    return np.frombuffer(struct.pack(f"{len(values)}d", *values))


def _pack_ints(values: Sequence[Any]) -> NDArray[Any]:
    return np.frombuffer(array("q", values), np.int64)  # numpy.array(values, int) would cut off fractions


def _pack_bools(values: Sequence[Any]) -> NDArray[Any]:
    _require_all(bool, values)
    return np.array(values, np.bool_)


def _pack_strings(values: Sequence[Any]) -> NDArray[Any]:
    _require_all(str, values)
    packed = np.empty(len(values), object)
    packed[:] = values
    return packed


def _require_all(kind: type, values: Sequence[Any]) -> None:
    if not {kind}.issuperset(map(type, values)):
        raise TypeError(kind)


_PACK: Mapping[InputType, Callable[[Sequence[Any]], NDArray[Any]]] = {
    "float": _pack_floats,
    "int": _pack_ints,
    "bool": _pack_bools,
    "str": _pack_strings,
}
_PACKED_KINDS: Mapping[InputType, str] = {"float": "fiub", "int": "ib", "bool": "b", "str": ""}
_PLACEHOLDERS: Mapping[InputType, Any] = {"float": 0.0, "int": 0, "bool": False, "str": ""}


class ColumnReader:
    """Reads the values of one input.

    A float takes floats, integers and booleans; an integer takes integers and booleans; a string or a boolean takes
    its own kind. NumPy arrays are read as what they hold.
    """

    def __init__(self, spec: InputSpec) -> None:
        self.spec = spec
        self._pack = _PACK[spec.type]
        self._packed_kinds = _PACKED_KINDS[spec.type]
        self._substitute = _PLACEHOLDERS[spec.type] if spec.default is None else spec.default

    def read(self, values: Column, faults: Faults) -> NDArray[Any]:
        """Return ``values`` as an array of the same length, and add the rows that cannot be read to ``faults``.

        A missing value is NaN, the default, or a fault with any value, as the manifest says; only a NaN that stood
        among floats is left for ``settle``.
        """
        if isinstance(values, np.ndarray):
            if values.dtype.kind in self._packed_kinds:
                return values
            values = cast("list[Any]", values.tolist())
        try:
            return self._pack(values)
        except _REFUSALS:
            return self._read_with_gaps(values, faults)

    def _read_with_gaps(self, values: Sequence[Any], faults: Faults) -> NDArray[Any]:
        missing = [row for row, value in enumerate(values) if _is_missing(value)]
        filled = list(values)
        for row in missing:
            filled[row] = self._substitute
        try:
            packed = self._pack(filled)
        except _REFUSALS:
            packed = self._read_one_by_one(filled, faults)
        if missing and self.spec.missing == "nan":
            packed = packed.astype(np.float64)
            packed[missing] = np.nan
        elif self.spec.missing == "reject":
            self._refuse(missing, _MISSING, faults)
        return packed

    def _read_one_by_one(self, values: list[Any], faults: Faults) -> NDArray[Any]:
        for row, value in enumerate(values):
            plain = _plain(value)
            try:
                self._pack((plain,))
                values[row] = plain
            except _REFUSALS:
                values[row] = self._substitute
                self._refuse((row,), self._misfit(plain), faults)
        return self._pack(values)

    def _misfit(self, value: object) -> str:
        kind = type(value).__name__
        if isinstance(value, int) and self.spec.type in {"int", "float"}:
            return f"is an integer beyond the range of a 64-bit {self.spec.type}"
        return f"is of type {kind}, not {self.spec.type}"

    def settle(self, column: NDArray[Any], faults: Faults) -> None:
        """Treat what is not finite in ``column``, a row of floats as the tensor holds them, in place.

        Infinities are refused, also those that come of a number too large for the tensor.
        """
        infinite = np.isinf(column)
        if infinite.any():
            self._refuse(np.flatnonzero(infinite).tolist(), f"is infinite or too large for {column.dtype}", faults)
        if self.spec.missing == "nan":
            return
        missing = np.isnan(column)
        if self.spec.missing == "default":
            column[missing] = self._substitute
        elif missing.any():
            self._refuse(np.flatnonzero(missing).tolist(), _MISSING, faults)

    def check_range(self, column: NDArray[Any], faults: Faults) -> None:
        """Refuse the rows of ``column`` that are below the manifest's minimum or above its maximum."""
        low, high = self.spec.minimum, self.spec.maximum
        if low is not None:
            self._refuse(np.flatnonzero(column < low).tolist(), f"is below the minimum {low}", faults)
        if high is not None:
            self._refuse(np.flatnonzero(column > high).tolist(), f"is above the maximum {high}", faults)

    def _refuse(self, rows: Sequence[int], rule: str, faults: Faults) -> None:
        for row in rows:
            faults.setdefault(row, f"input {self.spec.name!r} {rule}")


def _is_missing(value: object) -> bool:
    return value is None or (isinstance(value, float) and value != value)  # noqa: PLR0124 - only NaN differs from itself


def _plain(value: Any) -> Any:
    """Return the plain Python value of NumPy scalars and of subclasses of ``str``, such as enumerations."""
    if isinstance(value, str):
        return str.__str__(value)
    return cast("Any", value).item() if isinstance(value, np.generic) else value
