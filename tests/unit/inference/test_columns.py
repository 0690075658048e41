from __future__ import annotations

import math
from decimal import Decimal
from enum import StrEnum
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.inference.columns import ColumnReader
from streamserve.inference.manifest import InputSpec, InputType

MISSING = 'is missing: give it, or publish the model with missing="nan" or a default for it'


class Colour(StrEnum):
    RED = "red"


def read(kind: InputType, values: Any, **rules: Any) -> tuple[list[Any], dict[int, str]]:
    faults: dict[int, str] = {}
    column = ColumnReader(InputSpec(name="x", type=kind, **rules)).read(values, faults)
    assert len(column) == len(values)
    return column.tolist(), faults


@pytest.mark.parametrize(
    ("kind", "values", "expected"),
    [
        ("float", [1.5, 2, True, np.float32(0.5), Decimal("0.25")], [1.5, 2.0, 1.0, 0.5, 0.25]),
        ("int", [1, True, np.int32(7)], [1, 1, 7]),
        ("bool", [True, False, np.bool_(True)], [True, False, True]),
        ("str", ["a", np.str_("b"), Colour.RED, "c\0"], ["a", "b", "red", "c\0"]),
        ("float", np.array([1, 2], np.int16), [1.0, 2.0]),
        ("float", np.array([1.5, None], object)[:1], [1.5]),
        ("str", np.array(["a", "bc"]), ["a", "bc"]),
        ("int", np.array([2**63], np.uint64)[:0], []),
    ],
)
def test_values_of_the_inputs_kind_are_taken(kind: InputType, values: Any, expected: list[Any]) -> None:
    assert read(kind, values) == (expected, {})


@pytest.mark.parametrize(
    ("kind", "value", "rule"),
    [
        ("float", "1.5", "is of type str, not float"),
        ("float", b"1.5", "is of type bytes, not float"),
        ("float", [1.5], "is of type list, not float"),
        ("float", 10**400, "is an integer beyond the range of a 64-bit float"),
        ("int", 1.0, "is of type float, not int"),
        ("int", "1", "is of type str, not int"),
        ("int", 2**63, "is an integer beyond the range of a 64-bit int"),
        ("bool", 1, "is of type int, not bool"),
        ("str", 1, "is of type int, not str"),
        ("str", b"a", "is of type bytes, not str"),
        ("str", None, MISSING),
        ("int", math.nan, MISSING),
    ],
)
def test_a_value_of_another_kind_is_refused_alone(kind: InputType, value: object, rule: str) -> None:
    good: dict[InputType, Any] = {"float": 1.5, "int": 1, "bool": True, "str": "a"}
    column, faults = read(kind, [good[kind], value, good[kind]])
    assert faults == {1: f"input 'x' {rule}"}
    assert (column[0], column[2]) == (good[kind], good[kind])


def test_a_missing_value_becomes_what_the_manifest_says() -> None:
    assert read("int", [1, None], missing="default", default=-1) == ([1, -1], {})
    assert read("str", [None, "a"], missing="default", default="?") == (["?", "a"], {})
    assert read("bool", [None, True], missing="default", default=False) == ([False, True], {})
    column, faults = read("int", [1, None], missing="nan", tensor="X")
    assert column == [1.0, pytest.approx(math.nan, nan_ok=True)]
    assert not faults


def test_integers_of_a_float_array_are_not_cut_off() -> None:
    assert read("int", np.array([1.5, math.nan, 2.0]))[1] == {
        0: "input 'x' is of type float, not int",
        1: f"input 'x' {MISSING}",
        2: "input 'x' is of type float, not int",
    }


def test_no_value_appears_in_a_fault() -> None:
    _, faults = read("float", ["secret-4711", 1.0])
    assert "secret" not in faults[0]


anything = st.one_of(
    st.none(), st.booleans(), st.integers(-(2**70), 2**70), st.floats(allow_infinity=False), st.text(), st.binary()
)


def judge(kind: InputType, values: list[Any]) -> tuple[list[Any], dict[int, str]]:
    """Read and settle: a NaN that stands among floats is refused only then."""
    reader, faults = ColumnReader(InputSpec(name="x", type=kind)), dict[int, str]()
    column = reader.read(values, faults)
    if kind == "float":
        reader.settle(column, faults)
    return column.tolist(), faults


@given(values=st.lists(anything, max_size=20), kind=st.sampled_from(["float", "int", "bool", "str"]))
def test_a_row_is_judged_the_same_alone_and_among_others(values: list[Any], kind: InputType) -> None:
    together = judge(kind, values)
    alone = [judge(kind, [value]) for value in values]
    assert together[1] == {row: faults[0] for row, (_, faults) in enumerate(alone) if faults}
    for row, (column, faults) in enumerate(alone):
        assert faults or together[0][row] == pytest.approx(column[0])


@given(values=st.lists(st.floats() | st.none() | st.integers(-9, 9)))
def test_settled_floats_are_finite_or_refused(values: list[float | None]) -> None:
    reader, faults = ColumnReader(InputSpec(name="x", type="float")), dict[int, str]()
    with np.errstate(over="ignore"):
        column = reader.read(values, faults).astype(np.float32)
    reader.settle(column, faults)
    usable = {row for row, value in enumerate(column.tolist()) if math.isfinite(value)}
    assert faults.keys() | usable == set(range(len(values)))
    assert all(values[row] is None or abs(values[row] or 0) > 3e38 or math.isnan(values[row] or 0) for row in faults)


def test_settling_puts_the_default_in_place_of_nan() -> None:
    reader, faults = ColumnReader(InputSpec(name="x", type="float", missing="default", default=7.0)), dict[int, str]()
    column = np.array([1.0, math.nan], np.float32)
    reader.settle(column, faults)
    assert (column.tolist(), faults) == ([1.0, 7.0], {})


def test_range_limits_are_included() -> None:
    reader, faults = ColumnReader(InputSpec(name="x", type="float", minimum=0, maximum=0.1)), dict[int, str]()
    reader.check_range(np.array([0, 0.1, -0.01, 0.11, math.nan], np.float32), faults)
    assert faults == {2: "input 'x' is below the minimum 0.0", 3: "input 'x' is above the maximum 0.1"}
