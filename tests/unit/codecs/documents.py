"""Models and JSON documents for tests that hold the derived decoders against pydantic."""

from __future__ import annotations

import enum
import struct
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Literal, cast

import msgspec
from hypothesis import strategies as st
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, NaiveDatetime, create_model

NUMBERS = [
    *("0", "-0", "-0.0", "0.0", "1", "-1", "1.0", "1.5", "1e2", "1E+2", "1e-2", "2", "3", "3.0000000000000001"),
    *("1e400", "-1e400", "1e-400", "5e-324", "2e-324", "1.7976931348623157e308", "1.7976931348623159e308"),
    *("9007199254740993", "9007199254740993.0", "9223372036854775807", "9223372036854775808", "-9223372036854775809"),
    *("18446744073709551615", "18446744073709551616", "1" * 30, "1" * 400, "1" * 4300, "1" * 4301, "1e1000000000000"),
    *("01", "-01", "1.", ".5", "+1", "-", "1e", "0x10", "NaN", "Infinity", "-Infinity", "1_000", "0.1000000000000001"),
]
TEXTS = [
    *('""', '"a"', '"b"', '"ab"', '"abc"', '"1"', '"1.0"', '"true"', '"nan"', '" a "', '"\u00e9"', '"\U0001f600"'),
    *('"\\u0061"', '"\\ud83d\\ude00"', '"\\ud800"', '"\\udc00x"', '"\\ud83d\\u0041"', '"\\u0000"', '"\\q"', '"\\/"'),
    *('"\x00"', '"\n"', '"\x7f"', '"\\u12"', "'a'", '"unclosed', '"e\u0301"', '"\ufeff"'),
]
TIMES = [
    *("2013-01-01T05:00:00", "2013-01-01T05:00:00Z", "2013-01-01T05:00:00z", "2013-01-01 05:00:00Z"),
    *("2013-01-01t05:00:00Z", "2013-01-01_05:00:00Z", "2013-01-01T05:00Z", "2013-01-01T05Z", "2013-01-01"),
    *("2013-01-01T05:00:00.1Z", "2013-01-01T05:00:00.123456Z", "2013-01-01T05:00:00.1234567Z"),
    *("2013-01-01T05:00:00.9999999", "2013-01-01T05:00:00,1234567Z", "2013-01-01T05:00:00.123456\\u0037Z"),
    *("2013-01-01T05:00:00\\u002e1234567Z", "2013-01-01T05:00\\u003A00.1234567Z", "2013-01-01T05:00:00.12345678901Z"),
    *("2013-01-01T24:00:00Z", "2013-01-01T23:59:60Z", "2016-12-31T23:59:60Z", "2013-02-29T00:00:00Z"),
    *("0000-01-01T00:00:00Z", "0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00", "10000-01-01T00:00:00Z"),
    *("2013-01-01T05:00:00+01:00", "2013-01-01T05:00:00+0100", "2013-01-01T05:00:00+01", "2013-01-01T05:00:00-00:00"),
    *("2013-01-01T05:00:00+23:59", "2013-01-01T05:00:00+24:00", "2013-01-01T05:00:00+00:60", "2013-01-01T05:00:00 Z"),
    *("1357016400", "20130101T050000Z", "2013-W01-1T00:00:00", "2013-01-01T00:00:00", "-2013-01-01", "2013-1-1"),
]
OTHERS = [
    *(
        "null",
        "true",
        "false",
        "nul",
        "[]",
        "{}",
        "[1]",
        "[1,]",
        '{"a":1}',
        '{"a":1,"a":2}',
        '{"a":1,"a":"x"}',
        "",
        " ",
    ),
    *('["a","b"]', '[{"a":1}]', '{"a":{"a":1}}', '{"a":null}', "[null]", "[" * 198 + "]" * 198, "[" * 201 + "]" * 201),
    '{"a":' * 210 + "1" + "}" * 210,
]
NASTY = [*NUMBERS, *TEXTS, *(f'"{time}"' for time in TIMES), *OTHERS]
"""Literals, some of them not JSON, on which two readers are likely to differ."""

LITERAL_TEXT = st.one_of(
    st.sampled_from(NASTY),
    st.floats().map(repr),
    st.integers().map(str),
    st.decimals(allow_nan=False, allow_infinity=False).map(str),
    st.datetimes().map(lambda moment: f'"{moment.isoformat()}Z"'),
    st.text(max_size=4).map(lambda text: f'"{text}"'),
)


class Colour(enum.StrEnum):
    RED = "a"
    BLUE = "b"


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    a: int = Field(default=3, ge=1)


class Open(BaseModel):
    a: float
    b: Inner | None = None


ANNOTATIONS: dict[str, Any] = {
    "int": int,
    "float": float,
    "str": str,
    "bool": bool,
    "datetime": datetime,
    "date": date,
    "aware": AwareDatetime,
    "naive": NaiveDatetime,
    "finite": FiniteFloat,
    "bounded int": Annotated[int, Field(ge=0, lt=3)],
    "bounded float": Annotated[float, Field(gt=0, le=1.5)],
    "huge bound": Annotated[int, Field(le=2**63 - 1)],
    "beyond 64 bits": Annotated[int, Field(le=2**70)],
    "bounded str": Annotated[str, Field(min_length=1, max_length=2)],
    "literal": Literal["a", "b", ""],
    "enum": Colour,
    "inner": Inner,
    "open": Open,
    "ints": list[int],
    "texts": Annotated[list[str], Field(min_length=1, max_length=2)],
    "opens": list[Open],
    "mapping": dict[str, float],
    "nested mapping": dict[str, dict[str, Inner]],
    "perhaps texts": list[str | None],
    "pattern": Annotated[str, Field(pattern=r"^a\d?$")],
    "int or str": int | str,
    "any": Any,
    "delta": timedelta,
}
NAMES = ("a", "b", "at", "class_", "z")


@st.composite
def models(draw: st.DrawFn) -> type[BaseModel]:
    """Draw a model of one to four fields: required, nullable, with defaults, with aliases."""
    fields: dict[str, Any] = {}
    for name in draw(st.lists(st.sampled_from(NAMES), min_size=1, max_size=4, unique=True)):
        annotation = ANNOTATIONS[draw(st.sampled_from(sorted(ANNOTATIONS)))]
        if draw(st.booleans()):
            annotation = annotation | None
        default = draw(st.sampled_from([..., ..., None, "x", 5]))
        alias = draw(st.sampled_from([None, None, f"{name}Alias", "b"]))
        fields[name] = (annotation, Field(default, alias=alias) if alias else Field(default))
    extra = cast("Literal['ignore', 'forbid']", draw(st.sampled_from(["ignore", "ignore", "forbid"])))
    return create_model("Drawn", __config__=ConfigDict(extra=extra), **fields)


@st.composite
def documents(draw: st.DrawFn, model: type[BaseModel]) -> bytes:
    """Draw a document that has most of the model's fields, some unknown ones, and now and then broken bytes."""
    known = [field.alias or name for name, field in model.model_fields.items()]
    names = [*known, *draw(st.lists(st.sampled_from([*known, "x", "\\u0061", "é", "z\\q"]), max_size=2))]
    members = [f'"{name}":{draw(LITERAL_TEXT)}' for name in names if draw(st.integers(0, 9))]
    space = draw(st.sampled_from(["", "", " ", "\n", "\t", "\x0c", "\ufeff"]))
    text = f"{space}{{{','.join(members)}}}{space}".encode("utf-8", "surrogatepass")
    return draw(broken(text)) if not draw(st.integers(0, 3)) else text


@st.composite
def broken(draw: st.DrawFn, document: bytes) -> bytes:
    """Draw a document with a few bytes cut out, put in or doubled."""
    start = draw(st.integers(0, len(document)))
    end = min(len(document), start + draw(st.integers(0, 3)))
    put = draw(st.sampled_from([b"", b"\xff", b"\xed\xa0\x80", b"\xc3", b'"', b"\\", b"{", b"]", b",", b"0", b"\x00"]))
    return document[:start] + put + document[end:] + draw(st.sampled_from([b"", b"", b"}", b" ", b"x"]))


def picture(value: object) -> object:
    """Return a value in a form that is equal for equal values only: signs of zero, NaN, zones, classes of scalars."""
    if isinstance(value, BaseModel | msgspec.Struct):
        names = type(value).model_fields if isinstance(value, BaseModel) else value.__struct_fields__
        return {name: picture(getattr(value, name)) for name in names}
    match value:
        case float():
            return struct.pack("d", value)
        case datetime():
            return (value.replace(tzinfo=None), value.fold, value.utcoffset())
        case list():
            return [picture(item) for item in cast("list[object]", value)]
        case dict():
            return [(key, picture(item)) for key, item in cast("Mapping[str, object]", value).items()]
        case _:
            return (type(value), value)
