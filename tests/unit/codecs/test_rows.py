from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import (
    AwareDatetime,
    BaseModel,
    Field,
    FiniteFloat,
    NaiveDatetime,
    TypeAdapter,
    create_model,
    field_validator,
)

from streamserve.codecs.json import codec_for
from streamserve.codecs.rows import row_encoder
from streamserve.errors import EncodeError, PlanError

FLAT: dict[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "date": date,
    "datetime": datetime,
    "aware": AwareDatetime,
    "naive": NaiveDatetime,
    "finite": FiniteFloat,
    "probability": Annotated[float, Field(ge=0, le=1)],
    "open interval": Annotated[float, Field(gt=0, lt=1)],
    "count": Annotated[int, Field(ge=0, lt=10)],
    "code": Annotated[str, Field(min_length=1, max_length=3)],
    "literal": Literal["a", "b"],
}
MOMENT = datetime(2013, 3, 31, 5, 0, 0, 120, tzinfo=UTC)
PYDANTICS_MOMENT = TypeAdapter(datetime).validate_json('"2013-03-31T05:00:00+01:30"')
VALUES = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 12),
    st.floats(),
    st.sampled_from([2**63, 2**64, -(2**63) - 1, 10**30, 1e16, -1e16, 9999999999999998.0, 0.0, -0.0, 1.0, 5e-324]),
    st.sampled_from(["", "a", "b", "abcd", "\ud800", "\x00", "1", "é", "2013-01-01"]),
    st.sampled_from([MOMENT, PYDANTICS_MOMENT, MOMENT.replace(tzinfo=None), MOMENT.date()]),
    st.sampled_from([
        MOMENT.astimezone(timezone(timedelta(seconds=30))),
        MOMENT.astimezone(timezone(-timedelta(hours=3, minutes=30))),
        datetime(1880, 1, 1, tzinfo=ZoneInfo("Europe/Berlin")),
        MOMENT.astimezone(ZoneInfo("Europe/Berlin")),
    ]),
    st.sampled_from([np.float64(0.5), np.int64(3), np.bool_(True), b"a", [1], object()]),
)  # fmt: skip


def by_objects(model: type[BaseModel], row: dict[str, Any]) -> bytes | str:
    try:
        return model(**row).model_dump_json().encode()
    except Exception:
        return "refused"


def words(encoded: Sequence[bytes | EncodeError]) -> list[bytes | str]:
    return ["refused" if isinstance(row, EncodeError) else row for row in encoded]


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.tuples(st.sampled_from(sorted(FLAT)), st.booleans()), min_size=1, max_size=3), st.data())
def test_rows_have_the_bytes_and_refusals_of_building_each_object(
    kinds: list[tuple[str, bool]], data: st.DataObject
) -> None:
    fields: dict[str, Any] = {
        f"f{index}": (FLAT[kind] | None if nullable else FLAT[kind], ...)
        for index, (kind, nullable) in enumerate(kinds)
    }
    model = create_model("Out", **fields)
    rows = data.draw(st.lists(st.tuples(*[VALUES for _ in kinds]), min_size=1, max_size=20))
    encoded = row_encoder(codec_for(model)).encode_columns(list(zip(*rows, strict=True)))
    assert words(encoded) == [by_objects(model, dict(zip(fields, row, strict=True))) for row in rows]


class Delay(BaseModel):
    flight_id: str
    probability: float = Field(ge=0, le=1)
    late: bool
    model: str = "delay-1"


class Judged(Delay):
    @field_validator("probability")
    @classmethod
    def _rounded(cls, value: float) -> float:
        return round(value, 1)


def test_a_row_at_fault_is_refused_alone_and_named_by_field() -> None:
    probabilities = [0.25, math.nan, 1, 1.5]
    first, second, third, fourth = row_encoder(codec_for(Delay)).encode_columns(
        [["a"] * 4, probabilities, [True] * 4, ["m"] * 4]
    )
    assert first == b'{"flight_id":"a","probability":0.25,"late":true,"model":"m"}'
    assert third == b'{"flight_id":"a","probability":1.0,"late":true,"model":"m"}'
    for refused in (second, fourth):
        assert isinstance(refused, EncodeError)
        assert str(refused).startswith("not a valid Delay: probability: ")


class Measured(BaseModel):
    share: Annotated[float, Field(ge=0, le=1)] | None


@pytest.mark.parametrize("fault", [-0.5, 1.5, math.nan, math.inf, 1e300, "x"])
@pytest.mark.parametrize("others", [0.5, None, 1])
def test_a_fault_is_found_in_a_long_column(fault: object, others: float | None) -> None:
    column: list[Any] = [0.5] * 200
    column[3], column[150] = others, fault
    rows = row_encoder(codec_for(Measured)).encode_columns([column])
    assert [index for index, row in enumerate(rows) if isinstance(row, EncodeError)] == [150]
    assert rows[3] == (b'{"share":null}' if others is None else b'{"share":%.1f}' % others)


def test_validators_of_the_users_type_are_run_for_every_row() -> None:
    columns = [["a"], [0.26], [True], ["m"]]
    assert row_encoder(codec_for(Judged)).encode_columns(columns) == [
        b'{"flight_id":"a","probability":0.3,"late":true,"model":"m"}'
    ]


def test_numpy_columns_are_taken_as_python_values() -> None:
    columns: list[Any] = [["a", "b"], np.array([0.5, 0.25]), np.array([True, False]), np.array(["m", "m"])]
    assert words(row_encoder(codec_for(Delay)).encode_columns(columns)) == [
        b'{"flight_id":"a","probability":0.5,"late":true,"model":"m"}',
        b'{"flight_id":"b","probability":0.25,"late":false,"model":"m"}',
    ]


def test_no_rows_give_no_rows() -> None:
    assert row_encoder(codec_for(Delay)).encode_columns([[], [], [], []]) == []


@pytest.mark.parametrize("columns", [[["a"]], [["a"], [0.5], [True, False], ["m"]]])
def test_columns_that_do_not_match_the_fields_are_a_bug_of_the_caller(columns: list[list[Any]]) -> None:
    with pytest.raises(ValueError, match="4 columns of one length"):
        row_encoder(codec_for(Delay)).encode_columns(columns)


class Score(msgspec.Struct, rename="camel", tag=True):
    user_id: int
    score: Annotated[float, msgspec.Meta(ge=0)]
    note: str | None = None


class Keyword(msgspec.Struct, kw_only=True):
    note: str | None = None
    user_id: int


class Guarded(msgspec.Struct):
    a: int

    def __post_init__(self) -> None:
        if self.a > 5:
            raise ValueError(f"{self.a} is too large")


def test_structs_are_written_as_msgspec_writes_them() -> None:
    first, second, third = row_encoder(codec_for(Score)).encode_columns([[1, "x", 3], [0.5, 0.5, -1.0], [None] * 3])
    assert first == msgspec.json.encode(Score(1, 0.5))
    assert isinstance(second, EncodeError)
    assert isinstance(third, EncodeError)
    assert str(third) == "not a valid Score: Expected `float` >= 0.0 - at `$.score`"


class Pair(msgspec.Struct, array_like=True, tag="pair"):
    left: int
    right: float


def test_structs_written_as_arrays_are_coerced_and_checked_as_well() -> None:
    first, second, third = row_encoder(codec_for(Pair)).encode_columns([[1, 2, "x"], [0.5, 1, 1.0]])
    assert (first, second) == (b'["pair",1,0.5]', b'["pair",2,1.0]')
    assert isinstance(third, EncodeError)


def test_structs_with_keyword_fields_are_filled_by_name() -> None:
    assert row_encoder(codec_for(Keyword)).encode_columns([["n"], [7]]) == [
        msgspec.json.encode(Keyword(note="n", user_id=7))
    ]


def test_a_structs_own_check_refuses_the_row_without_its_words() -> None:
    first, second = row_encoder(codec_for(Guarded)).encode_columns([[1, 77]])
    assert first == b'{"a":1}'
    assert isinstance(second, EncodeError)
    assert "77" not in str(second)


def test_a_type_without_fields_cannot_be_filled_by_name() -> None:
    with pytest.raises(PlanError, match="no fields"):
        row_encoder(codec_for(int))
