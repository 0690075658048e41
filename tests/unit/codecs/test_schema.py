from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from pydantic import BaseModel, Field

from streamserve.codecs.schema import json_schema
from streamserve.errors import PlanError


class Zone(BaseModel):
    name: str


class Flight(BaseModel):
    at: int = Field(alias="scheduled", ge=0)
    zone: Zone
    also: Zone | None = None


class Plane(msgspec.Struct):
    tail: str


@pytest.mark.parametrize("value_type", [Flight, Plane, int, dict[str, Any], bytes])
def test_a_schema_names_its_draft_and_is_the_same_each_time(value_type: object) -> None:
    first, second = json.dumps(json_schema(value_type)), json.dumps(json_schema(value_type))
    assert first == second
    assert json.loads(first)["$schema"] == "https://json-schema.org/draft/2020-12/schema"


def test_a_models_schema_speaks_of_aliases_bounds_and_required_fields() -> None:
    schema = json_schema(Flight)
    assert schema["properties"]["scheduled"] == {"minimum": 0, "title": "Scheduled", "type": "integer"}
    assert schema["required"] == ["scheduled", "zone"]
    assert list(schema["$defs"]) == ["Zone"]


def test_a_structs_schema_is_msgspecs() -> None:
    assert json_schema(Plane)["$defs"]["Plane"]["properties"] == {"tail": {"type": "string"}}


def test_bytes_may_be_anything() -> None:
    assert set(json_schema(bytes)) == {"$schema"}


def test_a_type_without_a_schema_is_a_fault_of_the_plan() -> None:
    with pytest.raises(PlanError, match="no JSON Schema"):
        json_schema(object.__new__)
