"""What is wrong with a value, in words that name fields and rules and never repeat the value."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any, cast

import msgspec
from pydantic import ValidationError

__all__ = ["TOMBSTONE", "explain", "field_names"]

TOMBSTONE = "empty value (tombstone)"

_MAX_PROBLEMS = 3

_SAFE_TYPES = re.compile(
    r"""missing | extra_forbidden | finite_number | literal_error | enum | multiple_of | none_required
    | (greater|less)_than(_equal)? | (string_)?too_(short|long) | string_pattern_mismatch | int_from_float
    | int_parsing_size | timezone_(naive|aware) | decimal_(max_digits|max_places|whole_digits)
    | (string|int|float|bool|bytes|list|tuple|set|frozen_set|dict|model|dataclass|date|datetime|time|time_delta
       |decimal|json|mapping|iterable|uuid|url|complex)_type
    | (int|float|bool|decimal|date|datetime|time|time_delta|date_from_datetime|datetime_from_date)_parsing""",
    re.VERBOSE,
)
"""Kinds of pydantic's errors whose text holds the rule alone. Others may quote the value, above all a user's own."""

_SAFE_TEXT = re.compile(
    r"(Expected `|Object missing required field `|Input data was truncated|Number out of range"
    r"|Integer value out of range"
    r"|Invalid RFC3339 encoded (datetime|date|time)|Invalid UUID|Invalid base64 encoded string|Invalid decimal string"
    r"|Invalid ISO8601 duration|Invalid epoch timestamp|Timestamp is out of range|Duration is out of range"
    r"|JSON is malformed: )"
)
_QUOTING = re.compile(
    r"(Object contains unknown field|Invalid enum value|Invalid value) .*?(?P<place> - at `\$[^`]*`)?", re.DOTALL
)
"""msgspec's texts that quote the record."""


def explain(error: Exception, payload: bytes | None = None, *, names: Collection[str] = ()) -> str:
    """Say what is wrong, without repeating any of the data.

    ``names`` are the field names and aliases that a place may hold; any other text in a place came with the data and
    becomes ``*``. ``payload`` is the record that was refused, if it was one.

    >>> try:
    ...     msgspec.json.decode(b'{"at": 5}', type=dict[str, str])
    ... except msgspec.ValidationError as error:
    ...     explain(error)
    'Expected `str`, got `int` - at `$[...]`'
    """
    if payload is not None and (encoding := _encoding_fault(payload)):
        return encoding
    if isinstance(error, ValidationError):
        return _explain_pydantic(error, names)
    if isinstance(error, msgspec.DecodeError):
        return _explain_msgspec(error)
    return f"raised {type(error).__name__}"


def _encoding_fault(payload: bytes) -> str | None:
    if not payload:
        return "not JSON: no bytes"
    try:
        payload.decode()
    except UnicodeDecodeError as error:
        return f"not UTF-8 at byte {error.start}"
    return None


def _explain_pydantic(error: ValidationError, names: Collection[str]) -> str:
    problems = error.errors(include_input=False, include_url=False, include_context=False)
    first = "; ".join(
        _problem(problem["loc"], problem["type"], problem["msg"], names) for problem in problems[:_MAX_PROBLEMS]
    )
    more = len(problems) - _MAX_PROBLEMS
    return f"{first}; and {more} more" if more > 0 else first


def _problem(location: Sequence[int | str], kind: str, text: str, names: Collection[str]) -> str:
    if kind == "json_invalid":
        return text.replace("Invalid JSON", "not JSON", 1)
    place = ".".join(str(part) if isinstance(part, int) or part in names else "*" for part in location)
    words = f"{text} ({kind})" if _SAFE_TYPES.fullmatch(kind) else f"({kind})"
    return f"{place}: {words}" if place else words


def _explain_msgspec(error: msgspec.DecodeError) -> str:
    if error.__cause__ is not None:  # raised by the user's code, in words that may quote the value
        return f"raised {type(error.__cause__).__name__}"
    text = str(error)
    if _SAFE_TEXT.match(text):
        return text.replace("JSON is malformed", "not JSON", 1)
    quoting = _QUOTING.fullmatch(text)
    return f"{quoting[1]}{quoting['place'] or ''}" if quoting else "not what the type says"


def field_names(json_schema: object) -> frozenset[str]:
    """Collect the names of all properties in a JSON Schema, at any depth."""
    if isinstance(json_schema, dict):
        node = cast("dict[str, Any]", json_schema)
        properties = node.get("properties")
        own: frozenset[str] = (
            frozenset(cast("dict[str, Any]", properties)) if isinstance(properties, dict) else frozenset()
        )
        return own.union(*(field_names(child) for child in node.values()))
    if isinstance(json_schema, list):
        return frozenset[str]().union(*(field_names(child) for child in cast("list[Any]", json_schema)))
    return frozenset()
