"""A dashboard as plain data: rows of panels, each with its queries."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

__all__ = ["Board", "Kind", "Mark", "Panel", "Query", "Row", "Variable"]

Kind: TypeAlias = Literal["lines", "bars", "number", "table"]
"""How a panel shows its queries: over time, or the latest value of each series."""


@dataclass(frozen=True, slots=True)
class Query:
    """An expression in PromQL, and how its series are called (``{{label}}`` is filled in)."""

    expr: str
    legend: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """One picture. ``width`` is of 24; ``help_`` says what to do about it; beyond ``warn_at`` values are coloured.

    ``unit`` is one of Grafana's, such as ``s``, ``percentunit`` or ``recps``. With ``low_is_bad``, values below
    ``warn_at`` are coloured.
    """

    title: str
    unit: str
    queries: Sequence[Query]
    help_: str
    kind: Kind = "lines"
    width: int = 8
    warn_at: float | None = None
    low_is_bad: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under a title."""

    title: str
    panels: Sequence[Panel]


@dataclass(frozen=True, slots=True)
class Variable:
    """A choice at the top: the values of a query, or, without one, a text with a ``default``."""

    name: str
    label: str
    query: str = ""
    default: str = ""


@dataclass(frozen=True, slots=True)
class Mark:
    """Lines through all panels, at the moments (ms since the epoch, UTC) that are the values of ``expr``."""

    name: str
    expr: str
    title: str
    colour: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Board:
    """One dashboard; ``uid`` is its file's name and its address in Grafana."""

    uid: str
    title: str
    description: str
    span: str
    rows: Sequence[Row]
    variables: Sequence[Variable] = ()
    marks: Sequence[Mark] = ()

    def expressions(self) -> Iterator[tuple[str, str]]:
        """Yield the name of each panel, mark and variable with its PromQL."""
        for row in self.rows:
            for panel in row.panels:
                for query in panel.queries:
                    yield f"{self.uid}: {panel.title}", query.expr
        for mark in self.marks:
            yield f"{self.uid}: {mark.name}", mark.expr
