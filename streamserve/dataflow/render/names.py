"""How types, fields and functions of a plan are called where it is drawn."""

from __future__ import annotations


def name_of(item: object) -> str | None:
    """Return the name of a type, a field or a function."""
    if item is None or isinstance(item, str):
        return item
    return str(getattr(item, "__name__", item)).replace("<lambda>", "function")
