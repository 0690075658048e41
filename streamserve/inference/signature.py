"""Whether what the model needs is what events and features offer, found out without running anything."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from streamserve.inference.manifest import InputSpec, InputType

__all__ = ["check_signature", "members_of", "shown"]

_ACCEPTS: Mapping[InputType, tuple[type, ...]] = {
    "float": (float, int),
    "int": (int,),
    "str": (str,),
    "bool": (bool,),
}


def check_signature(inputs: Sequence[InputSpec], available: Mapping[str, Any]) -> list[str]:
    """Return why the columns ``available`` (name to type or annotation) can't feed ``inputs``; empty when they can.

    A float takes ``float``, ``int`` and ``bool``, an integer ``int`` and ``bool``, a string or a boolean its own kind;
    subclasses count. Each member of a union must fit. ``None`` in a union always does: the manifest's ``missing`` says
    what becomes of it. ``Any`` is left to run time.

    >>> check_signature([InputSpec(name="wind", type="float")], {"wind": str, "gust": float})
    ["input 'wind' needs float, and gets str"]
    """
    return list(_problems(inputs, available))


def _problems(inputs: Sequence[InputSpec], available: Mapping[str, Any]) -> Iterator[str]:
    for spec in inputs:
        if spec.name not in available:
            offered = ", ".join(sorted(available)) or "nothing"
            yield f"input {spec.name!r} ({spec.type}) is not given; there is {offered}"
            continue
        members = list(members_of(available[spec.name]))
        if wrong := [member for member in members if not _fits(member, spec.type)]:
            yield f"input {spec.name!r} needs {spec.type}, and gets {' | '.join(map(shown, wrong))}"


def members_of(annotation: Any) -> Iterator[Any]:
    """Yield the types that a value of ``annotation`` can have, but for ``None``.

    >>> list(members_of(float | str | None))
    [<class 'float'>, <class 'str'>]
    """
    origin = get_origin(annotation)
    if origin is Annotated:
        yield from members_of(get_args(annotation)[0])
    elif origin is Literal:
        yield from (type(value) for value in get_args(annotation) if value is not None)
    elif origin in {Union, UnionType}:
        for member in get_args(annotation):
            yield from members_of(member)
    elif annotation not in {None, NoneType}:
        yield annotation


def _fits(member: Any, kind: InputType) -> bool:
    return member is Any or (isinstance(member, type) and issubclass(member, _ACCEPTS[kind]))


def shown(annotation: Any) -> str:
    """Return how an error names a type."""
    return annotation.__name__ if isinstance(annotation, type) else str(annotation)
