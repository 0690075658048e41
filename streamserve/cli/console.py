"""What commands print: data on standard output, everything else on standard error."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import NoReturn

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress
from rich.table import Table

__all__ = ["fail", "note", "print_json", "print_table", "progress_bar", "waiting"]

_PLACEHOLDER = "MODULE:APP"
"""Stands for the app in what the engine's errors advise: it does not know by which name it was started."""
_PIPED_COLUMNS = 10_000
"""No terminal's width: what reads a pipe wants one row in one line."""


def fail(error: object, *, code: int = 1, app: str | None = None) -> NoReturn:
    """Tell ``error`` on standard error and end with ``code``; commands in it name ``app``, where that is known."""
    text = str(error) if app is None else str(error).replace(_PLACEHOLDER, app)
    Console(stderr=True, soft_wrap=True).print(f"[red]Error:[/] {escape(text)}", highlight=False)
    raise typer.Exit(code)


def note(text: str) -> None:
    """Tell ``text`` on standard error, where it disturbs no data."""
    Console(stderr=True, soft_wrap=True).print(escape(text), highlight=False)


def print_json(data: object) -> None:
    """Print ``data`` as one line of JSON."""
    typer.echo(json.dumps(data))


def print_table(columns: Sequence[str], rows: Sequence[Sequence[object]], *, title: str | None = None) -> None:
    """Print rows under columns; numbers stand to the right."""
    table = Table(*columns, title=title, title_justify="left", header_style="bold")
    for number, column in enumerate(table.columns):
        column.overflow = "fold"
        if any(isinstance(row[number], int) for row in rows):
            column.justify = "right"
    for row in rows:
        table.add_row(*("" if cell is None else escape(str(cell)) for cell in row))
    is_shown = sys.stdout.isatty() or "COLUMNS" in os.environ
    Console(width=None if is_shown else _PIPED_COLUMNS).print(table)


@contextmanager
def progress_bar(what: str) -> Generator[Callable[[int, int], None]]:
    """Show a bar on standard error while the block runs; yields what moves it, given what is done and the total."""
    with Progress(console=Console(stderr=True), transient=True) as progress:
        bar = progress.add_task(what, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total)


@contextmanager
def waiting(what: str) -> Generator[None]:
    """Tell a terminal's user what takes a moment, on standard error, while the block runs."""
    with Console(stderr=True).status(what):
        yield
