from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
import pytest
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic_core import PydanticCustomError

from streamserve.codecs.faults import explain, field_names

VALUE = "hunter2"


class Cat(BaseModel):
    kind: Literal["cat"]


class Dog(BaseModel):
    kind: Literal["dog"]


class Inner(BaseModel):
    model_config = ConfigDict(extra="forbid")

    a: int = 0


def custom(value: str) -> str:
    raise PydanticCustomError("custom", f"{value} is not nice")  # pyright: ignore[reportArgumentType]


PYDANTIC_TYPES: list[tuple[Any, str, str]] = [
    (Annotated[Cat | Dog, Field(discriminator="kind")], '{"kind":"hunter2"}', "(union_tag_invalid)"),
    (dict[str, int], '{"hunter2":"x"}', "*: Input should be a valid integer"),
    (dict[int, int], '{"hunter2":1}', "*.*: Input should be a valid integer"),
    (Inner, '{"hunter2":1}', "*: Extra inputs are not permitted (extra_forbidden)"),
    (list[Inner], '[{},{"a":"hunter2"}]', "1.a: Input should be a valid integer"),
    (Literal["a"], '"hunter2"', "Input should be 'a' (literal_error)"),
    (Annotated[str, AfterValidator(custom)], '"hunter2"', "(custom)"),
    (Annotated[str, Field(pattern="^a$")], '"hunter2"', "String should match pattern '^a$'"),
    (int, "hunter2", "not JSON: expected value at line 1 column 1"),
    (list[int], '["a","b","c","d","e"]', "; and 2 more"),
]


@pytest.mark.parametrize(("value_type", "document", "text"), PYDANTIC_TYPES)
def test_pydantics_errors_are_told_without_values_or_unknown_names(value_type: Any, document: str, text: str) -> None:
    adapter = TypeAdapter[Any](value_type)
    with pytest.raises(ValidationError) as raised:
        adapter.validate_json(document)
    told = explain(raised.value, names=field_names(adapter.json_schema()))
    assert text in told
    assert VALUE not in told


class A(msgspec.Struct, tag="a", forbid_unknown_fields=True):
    x: int = 0


class B(msgspec.Struct, tag="b"):
    inner: A | None = None


class Guarded(msgspec.Struct):
    x: str

    def __post_init__(self) -> None:
        raise ValueError(f"Expected `{self.x}`")


STRUCT_TYPES: list[tuple[Any, bytes, str]] = [
    (A | B, b'{"type":"hunter2"}', "Invalid value - at `$.type`"),
    (A, b'{"hunter2":1}', "Object contains unknown field"),
    (B, b'{"inner":{"hunter2 - at `$.x`":1}}', "Object contains unknown field - at `$.inner`"),
    (Literal["a"], b'"hunter2"', "Invalid enum value"),
    (list[Literal["a"]], b'["hunter2"]', "Invalid enum value - at `$[0]`"),
    (Guarded, b'{"x":"hunter2"}', "raised ValueError"),
    (dict[str, int], b'{"hunter2":"x"}', "Expected `int`, got `str` - at `$[...]`"),
    (int, b"hunter2", "not JSON: invalid character (byte 0)"),
]


@pytest.mark.parametrize(("value_type", "document", "text"), STRUCT_TYPES)
def test_msgspecs_errors_are_told_without_values(value_type: Any, document: bytes, text: str) -> None:
    with pytest.raises(msgspec.DecodeError) as raised:
        msgspec.json.decode(document, type=value_type)
    assert explain(raised.value) == text
