"""JSON Schemas of topics, for publishing and for comparing versions."""

from __future__ import annotations

from typing import Any, cast

import msgspec
from pydantic import TypeAdapter
from pydantic.json_schema import GenerateJsonSchema

from streamserve.errors import PlanError

__all__ = ["json_schema"]


def json_schema(value_type: object) -> dict[str, Any]:
    """Return the JSON Schema (draft 2020-12) of what a topic of ``value_type`` accepts.

    The same type gives the same schema, keys in the same order, so that files of it can be compared as text. ``bytes``
    has the schema that allows everything, since such a topic's values are not JSON. A pydantic model's schema is that
    of *validation*: it says what may be sent to the topic. What the engine writes to a topic fits as well, as long as
    the model has no computed fields beside ``extra="forbid"``, nor serializers of its own.

    >>> json_schema(int)
    {'$schema': 'https://json-schema.org/draft/2020-12/schema', 'type': 'integer'}

    Raises:
        PlanError: the type has parts that JSON Schema cannot describe.
    """
    return {"$schema": GenerateJsonSchema.schema_dialect, **_describe(value_type)}


def _describe(value_type: object) -> dict[str, Any]:
    if value_type is bytes:
        return {}
    try:
        if isinstance(value_type, type) and issubclass(value_type, msgspec.Struct):
            return _in_order(msgspec.json.schema(value_type))
        return _in_order(TypeAdapter(cast("type[Any]", value_type)).json_schema(mode="validation"))
    except Exception as error:
        raise PlanError(
            f"no JSON Schema for {value_type!r}: {error}. Use a pydantic model, a msgspec.Struct or plain JSON types."
        ) from error


def _in_order(node: Any) -> Any:
    """Sort the parts whose order means nothing: definitions, by name."""
    if not isinstance(node, dict):
        return node
    schema = cast("dict[str, Any]", node)
    definitions = cast("dict[str, Any]", schema.get("$defs", {}))
    return {**schema, "$defs": dict(sorted(definitions.items()))} if definitions else schema
