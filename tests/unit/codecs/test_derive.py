from __future__ import annotations

import enum
from datetime import datetime
from typing import Annotated, Any, Literal, cast

import msgspec
import pytest
from pydantic import (
    AliasChoices,
    AliasPath,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    RootModel,
    computed_field,
    create_model,
    field_serializer,
    field_validator,
    model_validator,
)

from streamserve.codecs.derive import CoreSchema, DerivedInput, derive_input, derive_output


def schema(model: type[BaseModel]) -> CoreSchema:
    return model.__pydantic_core_schema__


def derived(model: type[BaseModel]) -> DerivedInput:
    found = derive_input(schema(model))
    assert found is not None
    return found


class Place(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str


class Flight(BaseModel):
    number: Annotated[int, Field(ge=1)]
    origin: Place
    at: datetime = Field(alias="scheduled")
    stops: list[Place] = []
    tail: str | None = None


class FieldValidated(BaseModel):
    a: int

    @field_validator("a")
    @classmethod
    def _odd(cls, value: int) -> int:
        return value


class ModelValidated(BaseModel):
    a: int

    @model_validator(mode="after")
    def _whole(self) -> ModelValidated:
        return self


class PostInit(BaseModel):
    a: int

    def model_post_init(self, _: Any, /) -> None:
        self.a += 1


class CustomInit(BaseModel):
    a: int

    def __init__(self, **data: Any) -> None:
        super().__init__(**data)


class Recursive(BaseModel):
    a: int
    child: Recursive | None = None


class Root(RootModel[int]):
    pass


class Number(enum.IntEnum):
    ONE = 1


def with_config(**config: Any) -> type[BaseModel]:
    class Configured(BaseModel):
        model_config = ConfigDict(**config)

        a: str = Field(default="", alias="A")

    return Configured


def with_field(annotation: Any, **options: Any) -> type[BaseModel]:
    fields: dict[str, Any] = {"a": (annotation, Field(**options))}
    return create_model("OneField", **fields)


def from_others(data: dict[str, Any]) -> int:
    return len(data)


UNDERIVABLE = {
    "a field validator": FieldValidated,
    "a model validator": ModelValidated,
    "model_post_init": PostInit,
    "an __init__ of its own": CustomInit,
    "a model inside itself": Recursive,
    "a root model": Root,
    "strict mode": with_config(strict=True),
    "extra fields kept": with_config(extra="allow"),
    "text stripped": with_config(str_strip_whitespace=True),
    "fields by name or alias": with_config(validate_by_name=True, validate_by_alias=True),
    "validated defaults": with_config(validate_default=True),
    "a pattern": with_field(str, pattern="^a$"),
    "a multiple": with_field(int, multiple_of=2),
    "a bound beyond 64 bits": with_field(int, le=2**64),
    "two bounds on a side": with_field(int, ge=1, gt=1),
    "a union": with_field(int | str),
    "anything": with_field(Any),
    "an integer literal": with_field(Literal[1]),
    "an integer enum": with_field(Number),
    "integer keys": with_field(dict[int, int]),
    "an alias path": with_field(int, validation_alias=AliasPath("x", "y")),
    "a choice of aliases": with_field(int, validation_alias=AliasChoices("x", "y")),
    "an alias that msgspec refuses": with_field(int, alias='quo"te'),
    "a strict field": with_field(int, strict=True),
    "an annotated validator": with_field(Annotated[int, BeforeValidator(int)]),
    "a default from other fields": with_field(int, default_factory=from_others),
}


@pytest.mark.parametrize("model", UNDERIVABLE.values(), ids=UNDERIVABLE.keys())
def test_a_model_with_a_meaning_of_its_own_stays_with_pydantic(model: type[BaseModel]) -> None:
    assert derive_input(schema(model)) is None


def test_attributes_carry_field_names_and_documents_aliases() -> None:
    document = b'{"number":1,"origin":{"name":"EWR"},"scheduled":"2013-01-01T05:00:00Z"}'
    decoded: Any = msgspec.json.decode(document, type=derived(Flight).struct)
    assert (decoded.number, decoded.origin.name, decoded.tail) == (1, "EWR", None)
    assert decoded.at.year == 2013


def test_changeable_defaults_are_made_anew_for_each_record() -> None:
    struct = derived(with_field(dict[str, list[int]], default={"x": [1]})).struct
    first, second = (cast("Any", msgspec.json.decode(b"{}", type=struct)).a for _ in range(2))
    assert first == second == {"x": [1]}
    assert first["x"] is not second["x"]


def test_the_screen_knows_of_times_and_of_ignored_fields_anywhere_in_the_model() -> None:
    assert derived(Flight).screen.has_times
    assert derived(Flight).screen.ignores_unknown
    assert not derived(Place).screen.ignores_unknown


def test_structs_are_not_tracked_by_the_garbage_collector() -> None:
    assert derived(Flight).struct.__struct_config__.gc is False


class Computed(BaseModel):
    a: int

    @computed_field
    @property
    def b(self) -> int:
        return self.a


class Serialized(BaseModel):
    a: int

    @field_serializer("a")
    def _text(self, value: int) -> str:
        return str(value)


UNWRITABLE = {
    "a computed field": Computed,
    "a field serializer": Serialized,
    "an annotated serializer": with_field(Annotated[int, PlainSerializer(str)]),
    "an excluded field": with_field(int, exclude=True),
    "infinities as constants": with_config(ser_json_inf_nan="constants"),
    "aliases when writing": with_config(serialize_by_alias=True),
}


@pytest.mark.parametrize("model", UNWRITABLE.values(), ids=UNWRITABLE.keys())
def test_what_changes_how_values_are_written_does_not_change_how_they_are_read(model: type[BaseModel]) -> None:
    assert derive_output(schema(model)) is None
    assert derive_input(schema(model)) is not None


def test_an_output_struct_takes_every_field_by_position() -> None:
    struct = derive_output(schema(with_field(int, default=3)))
    assert struct is not None
    with pytest.raises(TypeError):
        struct()
    assert msgspec.json.encode(struct(5)) == b'{"a":5}'
