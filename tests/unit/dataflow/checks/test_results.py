"""What is said to fit a result's field is written, and what is said not to fit would be refused, row by row."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import AwareDatetime, BaseModel, BeforeValidator, ConfigDict, Field, create_model, field_validator

from streamserve.codecs.json import codec_for
from streamserve.codecs.rows import row_encoder
from streamserve.dataflow.checks.results import exactly, given, refused
from streamserve.errors import EncodeError


class Colour(StrEnum):
    RED = "red"


DECLARED: list[Any] = [
    str,
    int,
    float,
    bool,
    datetime,
    date,
    float | None,
    str | int,
    Any,
    dict[str, float],
    Literal["a"],
]
COMES: list[Any] = [bool, int, float, str, datetime, date, Colour, Mapping[str, float]]


def pydantic_type(declared: Any) -> type:
    return create_model("Out", id=(str, ...), x=(declared, ...))


def struct_type(declared: Any) -> type:
    return msgspec.defstruct("Out", [("id", str), ("x", declared)])


def dataclass_type(declared: Any) -> type:
    return dataclasses.make_dataclass("Out", [("id", str), ("x", declared)])


@pytest.mark.parametrize("make", [pydantic_type, struct_type, dataclass_type])
@pytest.mark.parametrize("declared", DECLARED, ids=str)
@pytest.mark.parametrize("comes", COMES, ids=str)
def test_what_is_refused_is_what_writing_refuses_but_for_what_a_text_may_say(
    make: Any, declared: Any, comes: Any
) -> None:
    result, offered = make(declared), given(comes)
    [(name, value)] = offered.values.items()
    [written] = row_encoder(codec_for(result)).encode_columns([["1"], [value]])
    said = refused(result, "x", offered)
    assert said in ([], [name])
    if said:
        assert isinstance(written, EncodeError)
    elif isinstance(written, EncodeError):
        assert isinstance(value, str | int) or declared in (date, datetime, Literal["a"]), "others of its type may fit"


@pytest.mark.parametrize("make", [pydantic_type, struct_type, dataclass_type])
def test_the_usual_mistakes_are_found(make: Any) -> None:
    assert refused(make(str), "x", given(bool)) == ["bool"]
    assert refused(make(str), "x", given(float | None)) == ["float"]
    assert refused(make(int), "x", given(float)) == ["float"]
    assert refused(make(str), "x", given(Mapping[str, float])) != []
    assert refused(make(float), "x", given(int)) == []


def test_texts_that_are_known_must_fit_as_they_are() -> None:
    assert refused(pydantic_type(Literal["low", "high"]), "x", exactly("low", "middle")) == ["'middle'"]
    assert refused(struct_type(Literal["low", "high"]), "x", exactly("low", "middle")) == ["'middle'"]
    assert refused(pydantic_type(int), "x", exactly("1", "2026-01")) == ["'2026-01'"]


def test_the_users_own_validators_have_their_say() -> None:
    class Out(BaseModel):
        model_config = ConfigDict(strict=True)
        said: Annotated[str, BeforeValidator(str)]
        bare: str = Field(alias="Bare")
        bound: Annotated[float, Field(gt=5)]
        other: str
        at: AwareDatetime

        @field_validator("other", mode="before")
        @classmethod
        def _from_anything(cls, value: Any) -> str:
            return f"{value}"

    assert refused(Out, "said", given(bool)) == []
    assert refused(Out, "bare", given(bool)) == ["bool"]
    assert refused(Out, "bound", given(float)) == []
    assert refused(Out, "other", given(bool)) == []
    assert refused(Out, "at", given(datetime)) == []
