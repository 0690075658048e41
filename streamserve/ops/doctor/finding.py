"""What the doctor says, as plain data."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Finding", "Level", "counted", "fault", "fine", "unknown", "warning", "worst_first"]

Level: TypeAlias = Literal["fault", "warning", "unknown", "fine"]
"""It will not work or loses data; it may hurt; it could not be looked at; it is as it should be."""

_ORDER: tuple[Level, ...] = ("fault", "warning", "unknown", "fine")


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: ``name`` is a fixed word for programs, ``where`` says of what, for people.

    ``remedy`` is empty only where it is fine.
    """

    level: Level
    name: str
    where: str
    what: str
    remedy: str = ""


def fault(name: str, where: str, what: str, remedy: str) -> Finding:
    """Return a finding of something that will not work, or loses data."""
    return Finding("fault", name, where, what, remedy)


def warning(name: str, where: str, what: str, remedy: str) -> Finding:
    """Return a finding of something that may hurt."""
    return Finding("warning", name, where, what, remedy)


def unknown(name: str, where: str, what: str, remedy: str) -> Finding:
    """Return a finding of something that could not be looked at."""
    return Finding("unknown", name, where, what, remedy)


def fine(name: str, where: str, what: str) -> Finding:
    """Return a finding of something that is as it should be."""
    return Finding("fine", name, where, what)


def counted(number: int, noun: str) -> str:
    """Return so many of something.

    >>> counted(1, "replica"), counted(2, "replica")
    ('1 replica', '2 replicas')
    """
    return f"{number} {noun}{'s' * (number != 1)}"


def worst_first(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings by level, within a level in their order.

    >>> [found.level for found in worst_first([fine("a", "", ""), fault("b", "", "", "mend it")])]
    ['fault', 'fine']
    """
    return sorted(findings, key=lambda found: _ORDER.index(found.level))
