"""The page of all errors, from their docstrings: what each means, what becomes of it, and what to do.

``python -m streamserve.ops.error_page [--check] [--to FILE]`` writes it, or, with ``--check``, says whether the file is
what the code says.
"""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streamserve.errors import (
    ConfigurationError,
    EngineRestart,
    OutageError,
    RecordError,
    StreamserveError,
)

__all__ = ["Entry", "entries", "error_page"]

_HEAD = """\
# Errors

Every error that streamserve raises on purpose, as `streamserve.errors` has them; this page is written by
`python -m streamserve.ops.error_page`. Messages name the place (step, topic, partition, offset) and what to do; they
never hold payload bytes or secrets. `streamserve doctor MODULE:APP` looks for causes before they strike.
"""
_BRANCHES: Mapping[type[StreamserveError], tuple[str, str]] = {
    ConfigurationError: (
        "Something has to be changed first",
        "The command ends: `run` with exit code 2, the others with 1.",
    ),
    RecordError: (
        "One record is at fault",
        """\
The record becomes one dead letter. Its header `reason` is the word in brackets, also in metrics; `error` is the class
below or, where another error led to it, that one's. With `on_error="skip"` the record is only counted; with `"stop"`
the worker ends.""",
    ),
    OutageError: (
        "A service is away",
        "The worker waits, is not ready, and tries again until `shutdown_timeout`. No record is at fault.",
    ),
    EngineRestart: (
        "The engine starts again",
        """\
The worker drops what is not committed and goes on from what is, by itself; `streamserve_restarts_total` counts it.""",
    ),
}
"""The branches of the tree, with their headings and what becomes of their errors."""
_REMEDY = "Remedy:"


@dataclass(frozen=True, slots=True)
class Entry:
    """An error: its name, its word in metrics and headers if it has one, what it means and what to do, in Markdown."""

    name: str
    reason: str | None
    cause: str
    remedy: str


def entries(branch: type[StreamserveError]) -> list[Entry]:
    """Return ``branch`` and all that derive from it in ``streamserve.errors``, in the order of the tree.

    Raises:
        ValueError: a class does not say what it means and, after ``Remedy:``, what to do.
    """
    return [_entry(kind) for kind in _with_derived(branch)]


def error_page() -> str:
    """Return the page as Markdown."""
    parts = [_HEAD]
    for branch, (heading, outcome) in _BRANCHES.items():
        rows = [_row(entry) for entry in entries(branch)]
        parts.append(f"\n## {heading}\n\n{outcome}\n\n| error | cause | remedy |\n| --- | --- | --- |\n")
        parts.extend(rows)
    return "".join(parts)


def _with_derived(kind: type[StreamserveError]) -> Iterator[type[StreamserveError]]:
    yield kind
    for derived in kind.__subclasses__():
        if derived.__module__ == StreamserveError.__module__:
            yield from _with_derived(derived)


def _entry(kind: type[StreamserveError]) -> Entry:
    text, remedy_word, after = inspect.cleandoc(kind.__doc__ or "").partition(_REMEDY)
    remedy = after.partition("\n\n")[0]
    if not (text.strip() and remedy_word and remedy.strip()):
        raise ValueError(f"{kind.__name__}: its docstring needs what it means and a paragraph 'Remedy: ...'")
    reason = kind.reason if issubclass(kind, RecordError) and kind is not RecordError else None
    told = _one_line(remedy)
    return Entry(kind.__name__, reason, _one_line(text), told[0].upper() + told[1:])


def _row(entry: Entry) -> str:
    name = f"`{entry.name}`" + (f" (`{entry.reason}`)" if entry.reason else "")
    return f"| {name} | {entry.cause} | {entry.remedy} |\n"


def _one_line(text: str) -> str:
    """Return Markdown for a cell.

    >>> _one_line("Ask ``x in y``,  or not.")
    'Ask `x in y`, or not.'
    """
    return re.sub(r"\s+", " ", text).strip().replace("``", "`").replace("|", "\\|")


def main(arguments: Sequence[str] | None = None) -> int:
    """Write or check the page; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m streamserve.ops.error_page", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing; exit with 1 where the file differs")
    parser.add_argument("--to", type=Path, default=Path("schemas/errors.md"), metavar="FILE")
    options = parser.parse_args(arguments)
    path: Path = options.to
    if path.exists() and path.read_text(encoding="utf-8") == error_page():
        return 0
    if not options.check:
        path.write_text(error_page(), encoding="utf-8")
    sys.stdout.write(f"{path}: {'differs: write it again without --check' if options.check else 'written'}\n")
    return int(options.check)


if __name__ == "__main__":
    sys.exit(main())
