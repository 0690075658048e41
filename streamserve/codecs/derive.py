"""msgspec structs derived from pydantic models, to read and write JSON several times faster.

The model's *core schema*, which is what pydantic itself runs on, is held against an allow-list: a kind of field, a
constraint or a setting that is not known to mean the same in both libraries makes the model underivable. So validators,
serializers, strict mode, patterns, unions of more than a type and ``None``, and whatever pydantic will add tomorrow
stay with pydantic.

Two structs can be derived. An *input* struct decodes: where it accepts a record that no `Screen` suspects, pydantic
accepts it with equal values; what it refuses is for pydantic to decide (``"1"`` for an ``int``, an epoch for a
``datetime``). An *output* struct encodes to the bytes that pydantic would write, once the values are known to be valid.
"""

from __future__ import annotations

import copy
import enum
import keyword
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from typing import Annotated, Any, Literal, TypeAlias, cast

import msgspec

from streamserve.codecs.screen import Screen

__all__ = ["DerivedInput", "derive_input", "derive_output"]

CoreSchema: TypeAlias = Mapping[str, Any]
"""A node of pydantic's core schema; see ``pydantic_core.core_schema``."""

_NOTES = {"type", "ref", "metadata"}
"""Keys of any node that change nothing for values."""

_HARMLESS_CONFIG = {
    "title",
    "frozen",
    "from_attributes",
    "hide_input_in_errors",
    "loc_by_alias",
    "validation_error_cause",
    "allow_inf_nan",  # msgspec reads no infinity and no NaN, so those records reach pydantic
    "coerce_numbers_to_str",  # widens what pydantic accepts, beyond what msgspec does
    "regex_engine",
    "cache_strings",
}
_OUTPUT_CONFIG = {"ser_json_timedelta", "ser_json_bytes", "ser_json_inf_nan", "ser_json_temporal", "serialize_by_alias"}
"""Settings that change how values are written, never how they are read."""

_INT64 = range(-(2**63), 2**63)


class _Underivable(Exception):
    """A part of the model that is not known to mean the same in msgspec."""


@dataclass(frozen=True, slots=True)
class DerivedInput:
    """A struct that stands in for a model when reading, with the screen for records that it must not read."""

    struct: type[msgspec.Struct]
    screen: Screen


def derive_input(schema: CoreSchema) -> DerivedInput | None:
    """Derive the struct that decodes records for the model of ``schema``; ``None`` where that is not sound.

    Its attributes carry the model's field names; fields are read under their aliases.
    """
    derivation = _Derivation(schema, for_output=False)
    try:
        struct = derivation.struct(derivation.root)
    except _Underivable:
        return None
    return DerivedInput(struct, Screen(derivation.ignores_unknown, derivation.has_times))


def derive_output(schema: CoreSchema) -> type[msgspec.Struct] | None:
    """Derive the struct that encodes rows for the model of ``schema``; ``None`` where that is not sound.

    It takes every field by position, in the model's order, and has no defaults.
    """
    derivation = _Derivation(schema, for_output=True)
    try:
        return derivation.struct(derivation.root)
    except _Underivable:
        return None


class _Derivation:
    """One walk over a core schema, from models down to scalars."""

    def __init__(self, schema: CoreSchema, *, for_output: bool) -> None:
        self.root = schema
        self.for_output = for_output
        self.ignores_unknown = False
        self.has_times = False
        self._definitions: dict[str, CoreSchema] = {}
        self._open: set[str] = set()
        if schema["type"] == "definitions":
            self._definitions = {definition["ref"]: definition for definition in schema["definitions"]}
            self.root = schema["schema"]

    def annotation(self, schema: CoreSchema) -> Any:
        """Return msgspec's annotation for a node."""
        if schema["type"] not in _KINDS:
            raise _Underivable
        allowed, build = _KINDS[schema["type"]]
        self.check_keys(schema, allowed)
        return build(self, schema)

    def check_keys(self, schema: CoreSchema, allowed: set[str]) -> None:
        known = _NOTES | allowed
        if not self.for_output:
            known = known | {"serialization"}
        if not schema.keys() <= known:
            raise _Underivable

    def reference(self, schema: CoreSchema) -> Any:
        reference = schema["schema_ref"]
        if reference in self._open or reference not in self._definitions:
            raise _Underivable  # a model inside itself has no bound on its depth
        self._open.add(reference)
        try:
            return self.annotation(self._definitions[reference])
        finally:
            self._open.discard(reference)

    def struct(self, schema: CoreSchema) -> type[msgspec.Struct]:
        """Return the struct for a model's node."""
        if schema["type"] == "definition-ref":
            return cast("type[msgspec.Struct]", self.reference(schema))
        if schema["type"] != "model" or schema.get("custom_init") or schema.get("root_model"):
            raise _Underivable
        self.check_keys(schema, _MODEL_KEYS)
        fields: CoreSchema = schema["schema"]
        self.check_keys(fields, {"fields", "model_name", "computed_fields"})
        if fields["type"] != "model-fields" or (self.for_output and fields.get("computed_fields")):
            raise _Underivable
        forbids_unknown = self._configure(schema.get("config", {}), fields["fields"])
        return self._define(schema["cls"].__name__, fields["fields"], forbids_unknown=forbids_unknown)

    def _configure(self, config: CoreSchema, fields: Mapping[str, CoreSchema]) -> bool:
        """Check a model's settings; tell whether it forbids fields that it does not know."""
        known = _HARMLESS_CONFIG | {"extra_fields_behavior"}
        if not self.for_output:
            known = known | _OUTPUT_CONFIG
        if not any("validation_alias" in field for field in fields.values()):
            known = known | {"validate_by_name", "validate_by_alias"}
        extra = config.get("extra_fields_behavior", "ignore")
        if not config.keys() <= known or extra not in {"ignore", "forbid"}:
            raise _Underivable
        self.ignores_unknown = self.ignores_unknown or extra == "ignore"
        return extra == "forbid"

    def _define(self, name: str, fields: Mapping[str, CoreSchema], *, forbids_unknown: bool) -> type[msgspec.Struct]:
        try:
            return msgspec.defstruct(
                name,
                [self._field(field_name, field) for field_name, field in fields.items()],
                rename=None if self.for_output else {n: f.get("validation_alias", n) for n, f in fields.items()},
                forbid_unknown_fields=forbids_unknown,
                kw_only=not self.for_output,
                gc=False,
            )
        except (TypeError, ValueError) as error:  # a name that msgspec does not take
            raise _Underivable from error

    def _field(self, name: str, field: CoreSchema) -> tuple[str, Any, Any] | tuple[str, Any]:
        allowed = {"schema", "validation_alias", "serialization_alias", "frozen"}
        self.check_keys(field, allowed if self.for_output else allowed | {"serialization_exclude"})
        if field["type"] != "model-field" or not isinstance(field.get("validation_alias", name), str):
            raise _Underivable
        if not name.isidentifier() or keyword.iskeyword(name):
            raise _Underivable
        schema: CoreSchema = field["schema"]
        if schema["type"] != "default":
            return name, self.annotation(schema)
        self.check_keys(schema, {"schema", "default", "default_factory", "default_factory_takes_data"})
        if self.for_output:
            return name, self.annotation(schema["schema"])
        return name, self.annotation(schema["schema"]), _default(schema)


def _default(schema: CoreSchema) -> Any:
    """Return the struct field that fills in a missing value as pydantic does: anew where it can be changed."""
    if schema.get("default_factory_takes_data"):
        raise _Underivable
    if "default_factory" in schema:
        return msgspec.field(default_factory=schema["default_factory"])
    default = schema["default"]
    try:
        hash(default)
    except TypeError:
        return msgspec.field(default_factory=lambda: copy.deepcopy(default))
    return msgspec.field(default=default)


def _bounds(schema: CoreSchema, number: Callable[[Any], float]) -> dict[str, Any]:
    """Return ``ge gt le lt`` for msgspec, which takes one bound a side and 64 bits."""
    bounds = {name: schema[name] for name in ("ge", "gt", "le", "lt") if name in schema}
    if {"ge", "gt"} <= bounds.keys() or {"le", "lt"} <= bounds.keys():
        raise _Underivable
    if number is int and not all(type(bound) is int and bound in _INT64 for bound in bounds.values()):
        raise _Underivable
    return {name: number(bound) for name, bound in bounds.items()}


def _lengths(schema: CoreSchema) -> dict[str, int]:
    return {name: schema[name] for name in ("min_length", "max_length") if name in schema}


def _constrained(annotation: Any, **constraints: Any) -> Any:
    return Annotated[annotation, msgspec.Meta(**constraints)] if constraints else annotation


def _int(_: _Derivation, schema: CoreSchema) -> Any:
    return _constrained(int, **_bounds(schema, int))


def _float(_: _Derivation, schema: CoreSchema) -> Any:
    return _constrained(float, **_bounds(schema, float))


def _str(_: _Derivation, schema: CoreSchema) -> Any:
    return _constrained(str, **_lengths(schema))


def _datetime(derivation: _Derivation, schema: CoreSchema) -> Any:
    derivation.has_times = True
    match schema.get("tz_constraint"):
        case None:
            return datetime
        case "aware":
            return _constrained(datetime, tz=True)
        case "naive":
            return _constrained(datetime, tz=False)
        case _:
            raise _Underivable


def _literal(_: _Derivation, schema: CoreSchema) -> Any:
    if not all(type(value) is str for value in schema["expected"]):
        raise _Underivable
    return Literal[tuple(schema["expected"])]


def _enum(derivation: _Derivation, schema: CoreSchema) -> Any:
    members = cast("list[enum.Enum]", schema["members"])
    if derivation.for_output or schema.get("missing") or not all(type(member.value) is str for member in members):
        raise _Underivable
    return schema["cls"]


def _nullable(derivation: _Derivation, schema: CoreSchema) -> Any:
    return derivation.annotation(schema["schema"]) | None


def _list(derivation: _Derivation, schema: CoreSchema) -> Any:
    if "items_schema" not in schema:
        raise _Underivable
    return _constrained(list[derivation.annotation(schema["items_schema"])], **_lengths(schema))


def _dict(derivation: _Derivation, schema: CoreSchema) -> Any:
    if schema.get("keys_schema", {}).get("type") != "str" or "values_schema" not in schema:
        raise _Underivable
    keys, values = derivation.annotation(schema["keys_schema"]), derivation.annotation(schema["values_schema"])
    return _constrained(dict[keys, values], **_lengths(schema))


def _plain(annotation: type) -> Callable[[_Derivation, CoreSchema], Any]:
    return lambda _, __: annotation


_MODEL_KEYS = {"cls", "schema", "config", "custom_init", "root_model", "frozen", "generic_origin"}
_BOUND_KEYS = {"ge", "gt", "le", "lt", "allow_inf_nan"}
_LENGTH_KEYS = {"min_length", "max_length"}

_KINDS: dict[str, tuple[set[str], Callable[[_Derivation, CoreSchema], Any]]] = {
    "str": (_LENGTH_KEYS, _str),
    "int": (_BOUND_KEYS, _int),
    "float": (_BOUND_KEYS, _float),
    "bool": (set(), _plain(bool)),
    "date": (set(), _plain(date)),
    "datetime": ({"microseconds_precision", "tz_constraint"}, _datetime),
    "literal": ({"expected"}, _literal),
    "enum": ({"cls", "members", "sub_type", "missing"}, _enum),
    "nullable": ({"schema"}, _nullable),
    "list": ({"items_schema"} | _LENGTH_KEYS, _list),
    "dict": ({"keys_schema", "values_schema"} | _LENGTH_KEYS, _dict),
    "model": (_MODEL_KEYS, _Derivation.struct),
    "definition-ref": ({"schema_ref"}, _Derivation.reference),
}
"""Kinds of nodes that mean the same in both libraries, each with the keys of which that is known."""
