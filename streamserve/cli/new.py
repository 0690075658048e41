"""``streamserve new``: a working topology to start from."""

from __future__ import annotations

import keyword
import subprocess
import sys
from collections.abc import Iterator
from importlib.resources import as_file, files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from typing import Annotated

import typer

from streamserve.errors import ConfigurationError

_FILLED = ".tmpl"
"""Ends the names of files in which ``$name`` is filled in, as in all paths; others are copied as they are."""

Name = Annotated[str, typer.Argument(metavar="NAME", help="The new package's name, and the app's.", show_default=False)]
Into = Annotated[Path, typer.Option("--into", metavar="FOLDER", help="The folder that the package is written into.")]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("new")(new)


def new(name: Name, into: Into = Path()) -> None:
    """Write a working topology: topics, types, a feature view, a model, and tests in the harness.

    It passes its test and `streamserve check`, and runs, as it is; the feature store is filled, which takes seconds.

    Example: streamserve new fraud
    """
    from streamserve.cli.console import note

    folder = into / _checked(name, into)
    for path, content in _contents(name):
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    note("declaring features and filling the online store ...")
    _prepare(folder)
    typer.echo(
        f"{folder}/ is ready. Try:\n"
        f"  streamserve check {name}.app:app\n"
        f"  pytest {name}\n"
        f"  streamserve broker start\n"
        f"  streamserve topics create {name}.app:app\n"
        f"  streamserve run {name}.app:app\n"
        f"{folder}/README.md says how to send and read. Run all of it in {into.resolve()}."
    )


def _checked(name: str, into: Path) -> str:
    """Return ``name`` if a package of that name may be written.

    Raises:
        typer.BadParameter: it is no module's name, or one that is taken.
    """
    if not (name.isidentifier() and name.isascii() and name == name.lower()) or keyword.iskeyword(name):
        raise _misnamed(f"{name!r} names no Python package: use lower-case letters, digits and '_'")
    if (into / name).exists():
        raise _misnamed(f"{into / name} exists: nothing was written")
    if find_spec(name) is not None:
        raise _misnamed(f"{name!r} is the name of an installed package, which would hide the new one")
    return name


def _misnamed(text: str) -> typer.BadParameter:
    return typer.BadParameter(text, param_hint="NAME")


def _contents(name: str) -> Iterator[tuple[Path, bytes]]:
    """Yield path and content of each file of the new package."""
    with as_file(files("streamserve.cli") / "template") as template:
        for path in sorted(path for path in template.rglob("*") if path.is_file()):
            where = Path(Template(str(path.relative_to(template))).substitute(name=name))
            if path.suffix != _FILLED:
                yield where, path.read_bytes()
                continue
            text = Template(path.read_text(encoding="utf-8")).substitute(name=name)
            yield where.with_suffix(""), text.encode()


def _prepare(folder: Path) -> None:
    """Run the new feature repository's script.

    Raises:
        ConfigurationError: it failed; what it said is shown.
    """
    script = folder / "feature_repo" / "prepare.py"
    ended = subprocess.run([sys.executable, script], capture_output=True, text=True, check=False)  # noqa: S603 - ours
    if ended.returncode != 0:
        raise ConfigurationError(
            f"{script} failed with exit code {ended.returncode}; all files are written, so run it again once this is"
            f" mended:\n{ended.stderr.strip()}"
        )
