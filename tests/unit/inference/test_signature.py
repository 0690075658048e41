from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import pytest

from streamserve.inference.manifest import InputSpec, InputType
from streamserve.inference.signature import check_signature


class Carrier(StrEnum):
    AA = "AA"


@pytest.mark.parametrize(
    ("kind", "annotation"),
    [
        ("float", float),
        ("float", int),
        ("float", bool),
        ("float", float | None),
        ("float", Annotated[float, "metres"]),
        ("float", Any),
        ("int", int),
        ("int", bool),
        ("str", str),
        ("str", Carrier),
        ("str", Literal["AA", "UA"]),
        ("bool", bool | None),
    ],
)
def test_what_fits_is_no_problem(kind: InputType, annotation: object) -> None:
    assert check_signature([InputSpec(name="x", type=kind)], {"x": annotation, "y": str}) == []


@pytest.mark.parametrize(
    ("kind", "annotation", "shown"),
    [
        ("float", str, "str"),
        ("float", float | str | None, "str"),
        ("float", datetime, "datetime"),
        ("float", list[float], "list[float]"),
        ("int", float, "float"),
        ("int", Literal[1, "a"], "str"),
        ("str", int, "int"),
        ("bool", int, "int"),
    ],
)
def test_what_does_not_fit_is_shown(kind: InputType, annotation: object, shown: str) -> None:
    problems = check_signature([InputSpec(name="x", type=kind)], {"x": annotation})
    assert problems == [f"input 'x' needs {kind}, and gets {shown}"]


def test_each_input_that_is_not_given_is_a_problem() -> None:
    inputs = [InputSpec(name="x", type="float"), InputSpec(name="y", type="str")]
    assert check_signature(inputs, {}) == [
        "input 'x' (float) is not given; there is nothing",
        "input 'y' (str) is not given; there is nothing",
    ]
    assert check_signature(inputs, {"b": int, "a": int, "y": str}) == [
        "input 'x' (float) is not given; there is a, b, y"
    ]
