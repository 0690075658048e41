"""What a value type looks like at run time: its class and its fields."""

from __future__ import annotations

import dataclasses
import types
from collections.abc import Mapping
from typing import Any, Union, cast, get_origin, get_type_hints

from pydantic import BaseModel
from typing_extensions import is_typeddict

__all__ = ["field_annotations", "runtime_type"]


def runtime_type(value_type: object) -> type:
    """Return the class that values are instances of; ``object`` where an annotation has none.

    >>> runtime_type(dict[str, int]), runtime_type(int | None)
    (<class 'dict'>, <class 'object'>)
    """
    if is_typeddict(value_type):
        return dict
    origin = get_origin(value_type) or value_type
    if origin is Any or origin is Union or origin is types.UnionType or not isinstance(origin, type):
        return object
    return origin


def field_annotations(value_type: object) -> Mapping[str, Any]:
    """Return the fields of a pydantic model, a dataclass or a ``TypedDict``, in order; others have none."""
    if not isinstance(value_type, type):
        return {}
    shape = cast("type[Any]", value_type)
    if issubclass(shape, BaseModel):
        return {name: field.annotation for name, field in shape.model_fields.items()}
    if dataclasses.is_dataclass(shape):
        hints = get_type_hints(shape)
        return {field.name: hints[field.name] for field in dataclasses.fields(shape)}
    return get_type_hints(shape) if is_typeddict(shape) else {}
