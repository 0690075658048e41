"""Environments for Python programs of other engines: made once from hashed pins, kept in the user's cache folder."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from streamserve.folders import cache_home

_COMPLETE = "complete"
"""A file that says that an environment is."""


class Unavailable(Exception):
    """An engine cannot be run here; the text says why, and what would help."""


def environment(name: str, pins: Path, python: str | None = None) -> Path:
    """Return the Python that has the packages of ``pins``; one of version ``python``, by default this version.

    Raises:
        Unavailable: there is no such Python, or packages cannot be had.
    """
    base = Path(sys.executable) if python is None else find_python(python)
    mark = hashlib.sha256(pins.read_bytes() + str(base).encode()).hexdigest()[:12]
    home = cache_home() / "compare" / f"{name}-{mark}"
    made = home / "bin" / "python"
    if not (home / _COMPLETE).exists():
        shutil.rmtree(home, ignore_errors=True)
        _run(name, str(base), "-m", "venv", str(home))
        _run(name, str(made), "-m", "pip", "install", "-q", "--no-deps", "--require-hashes", "-r", str(pins))
        (home / _COMPLETE).touch()
    return made


def find_python(version: str) -> Path:
    """Return a Python of ``version`` ("3.13") from ``PATH``, or one that pyenv has.

    Raises:
        Unavailable: there is none that runs.
    """
    for candidate in _candidates(version):
        asked = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False)
        if asked.stdout.startswith(f"Python {version}."):
            return candidate
    raise Unavailable(f"needs Python {version}, which is not on PATH: install python{version}")


def pinned_version(pins: Path, package: str) -> str:
    """Return the version of ``package`` in a requirements file.

    Raises:
        ValueError: it is not pinned there.
    """
    found = re.search(rf"^{re.escape(package)}==([^ ;\\\n]+)", pins.read_text(encoding="utf-8"), re.MULTILINE)
    if found is None:
        raise ValueError(f"{pins.name} does not pin {package}")
    return found[1]


def _candidates(version: str) -> Iterator[Path]:
    on_path = shutil.which(f"python{version}")
    if on_path:
        yield Path(on_path)
    pyenv = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    yield from sorted(pyenv.glob(f"versions/{version}*/bin/python{version}"), reverse=True)


def _run(name: str, *command: str) -> None:
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise Unavailable(f"the environment of {name} cannot be made: {ended.stderr.strip()[-500:]}")
