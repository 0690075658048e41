"""Whether what comes can fill a result's fields: values as they may come are held against the result's own type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any, get_origin

import msgspec
from pydantic import TypeAdapter, ValidationError

from streamserve.codecs.base import ValueCodec
from streamserve.codecs.json import StructCodec, codec_for
from streamserve.inference.signature import members_of, shown

__all__ = ["Given", "exactly", "given", "refused"]

_NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
_SAMPLES: Mapping[type, Any] = {bool: True, int: 2, float: 0.5, str: "text", datetime: _NOON, date: _NOON.date()}
"""A value of each type that no other type takes for one of its own: neither a whole number nor a number in a text."""


@dataclass(frozen=True, slots=True)
class Given:
    """What comes for a field: values by how they are shown.

    They are samples of a type, shown as the type, or, where ``is_exact``, the values that will come.
    """

    values: Mapping[str, Any]
    is_exact: bool = False


def given(annotation: Any) -> Given:
    """Return a sample of each type that a value of ``annotation`` can have; there is none of ``None`` and of others'.

    >>> given(float | None).values, given(object).values
    ({'float': 0.5}, {})
    """
    return Given({shown(member): sample for member in members_of(annotation) for sample in _sample(member)})


def exactly(*values: str) -> Given:
    """Return texts that will come as they are."""
    return Given({repr(value): value for value in values}, is_exact=True)


def _sample(member: Any) -> Iterator[Any]:
    if get_origin(member) is not None and issubclass(get_origin(member), Mapping):
        yield {"text": 0.5}
    elif isinstance(member, type) and issubclass(member, Enum):
        yield from list(member)[:1]
    elif member in _SAMPLES:
        yield _SAMPLES[member]


def refused(value_type: type, field: str, offered: Given) -> list[str]:
    """Return what of ``offered`` the field of ``value_type`` surely does not take.

    Of samples only their type counts: a text may be a number's, and whether a number is within bounds is not known.
    """
    codec: ValueCodec[Any] = codec_for(value_type)
    if isinstance(codec, StructCodec):
        fits = _struct_takes(codec.fields[field], is_exact=offered.is_exact)
    else:
        fits = _model_takes(value_type, field, is_exact=offered.is_exact)
    return [name for name, value in offered.values.items() if not fits(value)]


def _model_takes(value_type: type, field: str, *, is_exact: bool) -> Callable[[Any], bool]:
    """Return a test of a value for a field of a pydantic model or a dataclass, by the type's own validation."""
    adapter = TypeAdapter[Any](value_type)

    def fits(value: Any) -> bool:
        try:
            adapter.validate_python({field: value}, by_alias=False, by_name=True)
        except ValidationError as error:  # the other fields are missing
            faults = [
                fault["type"]
                for fault in error.errors(include_url=False)
                if fault["type"] != "missing" and fault["loc"]
            ]
            return not faults or not (is_exact or all(map(_is_of_types, faults)))
        except Exception:  # a validator of the user's that asks for the other fields
            return True
        return True

    return fits


def _is_of_types(fault: str) -> bool:
    return fault.endswith("_type") or fault == "int_from_float"


def _struct_takes(annotation: Any, *, is_exact: bool) -> Callable[[Any], bool]:
    """Return a test of a value for a struct's field: whether what is written can be read back."""
    read = msgspec.json.Decoder[Any](annotation).decode

    def fits(value: Any) -> bool:
        try:
            read(msgspec.json.encode(value))
        except msgspec.ValidationError as error:
            return not (is_exact or ", got `" in str(error))
        return True

    return fits
