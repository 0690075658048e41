"""Which types have values that cannot be changed in place, so that a table may hand out the one that it keeps."""

from __future__ import annotations

import dataclasses
import enum
import types
from datetime import date, time, timedelta, timezone
from decimal import Decimal
from typing import Annotated, Any, Literal, NewType, Union, cast, get_args, get_origin, get_type_hints
from uuid import UUID

import msgspec
import pydantic
from typing_extensions import TypeAliasType

__all__ = ["is_immutable"]

_PLAIN = (str, int, float, complex, bool, bytes, type(None), date, time, timedelta, timezone, Decimal, UUID, enum.Enum)


def is_immutable(value_type: Any) -> bool:
    """Tell whether no value of ``value_type`` can be changed in place.

    True for plain scalars, dates and times, enums, and frozen ``msgspec.Struct``, frozen pydantic models, frozen
    dataclasses, named tuples, tuples, frozensets and unions of such. When in doubt the answer is no, which costs time
    but loses nothing: a type variable, ``Any``, a base class that is not listed here.

    >>> is_immutable(tuple[int, ...]), is_immutable(str | None), is_immutable(tuple[list[int], int]), is_immutable(dict)
    (True, True, False, False)
    """
    return _check(value_type, frozenset())


def _check(annotation: Any, above: frozenset[Any]) -> bool:
    """``above`` holds the classes whose fields lead here: one that refers to itself adds no doubt of its own."""
    origin = get_origin(annotation)
    if isinstance(annotation, TypeAliasType):
        return _check(annotation.__value__, above)
    if isinstance(annotation, NewType):
        return _check(annotation.__supertype__, above)
    if origin is Annotated:
        return _check(get_args(annotation)[0], above)
    if origin is Literal or annotation is None:
        return True
    if origin in (Union, types.UnionType, tuple, frozenset):
        return all(part is Ellipsis or _check(part, above) for part in get_args(annotation))
    return isinstance(annotation, type) and _check_class(cast("type[Any]", annotation), above)


def _check_class(cls: type[Any], above: frozenset[Any]) -> bool:
    if issubclass(cls, _PLAIN) or cls in above:
        return True
    if not _is_frozen(cls):
        return False
    try:
        hints = get_type_hints(cls, include_extras=True)
    except NameError:
        return False
    return all(_check(hints.get(name), above | {cls}) for name in _field_names(cls))


def _is_frozen(cls: type[Any]) -> bool:
    if issubclass(cls, msgspec.Struct):
        return cls.__struct_config__.frozen
    if issubclass(cls, pydantic.BaseModel):
        return bool(cls.model_config.get("frozen")) and not _holds_more(cls)
    if dataclasses.is_dataclass(cls):
        return bool(cast("Any", cls).__dataclass_params__.frozen)
    return issubclass(cls, tuple) and "_fields" in cast("Any", cls).__dict__


def _holds_more(model: type[pydantic.BaseModel]) -> bool:
    """Return whether ``model`` holds what its fields do not tell of, and what may be changed though it is frozen."""
    return model.model_config.get("extra") == "allow" or bool(model.__private_attributes__)


def _field_names(cls: type[Any]) -> list[str]:
    if issubclass(cls, msgspec.Struct):
        return list(cls.__struct_fields__)
    if issubclass(cls, pydantic.BaseModel):
        return list(cls.model_fields)
    if dataclasses.is_dataclass(cls):
        return [field.name for field in dataclasses.fields(cls)]
    return list(cast("Any", cls)._fields)
