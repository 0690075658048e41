"""What the parts of ``App`` share: the nodes declared so far, and the rules for names."""

from __future__ import annotations

import re

from streamserve.dataflow.planning.declared import Declared
from streamserve.errors import PlanError

_OWN_NAMES = ("state",)
"""Changelogs of the engine's own."""

_NAME = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,99}")


class Declares:
    """Base of the parts of ``App``: each declares one kind of thing."""

    def __init__(self, declared: Declared) -> None:
        self._declared = declared

    def _check_state_name(self, name: str, what: str) -> None:
        """Raise ``PlanError`` if ``name`` may not name state: it is its changelog's."""
        checked(name, what)
        declared = self._declared
        taken = (_OWN_NAMES, declared.tables, declared.windows, declared.joins, declared.labels)
        if any(name in names for names in taken):
            raise PlanError(f"{what} {name!r}: the name is taken; whatever keeps state needs a name of its own")


def checked(name: str, what: str) -> str:
    """Return ``name`` if it may name a ``what``.

    Raises:
        PlanError: it may not.
    """
    if not _NAME.fullmatch(name):
        raise PlanError(f"{what} name {name!r}: use up to 100 letters, digits, '.', '_' and '-'")
    return name
