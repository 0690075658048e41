"""Maven artefacts through jgo, a Maven client in Python; the home of jgo.

jgo's default repository is used, so no address stands here. What jgo brings is not trusted: it returns a truncated
file from its cache without a word, only warns when a checksum is wrong, and writes in place. Callers give it a fresh
folder and check every file themselves.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streamserve.errors import LocalBrokerError

if TYPE_CHECKING:
    from jgo.maven import MavenContext

BytesRead = Callable[[int], None]
TIMEOUT_S = 20


class DownloadFailed(Exception):
    """An artefact did not arrive; the cause is chained. Trying again may help."""


@dataclass(frozen=True, slots=True, order=True)
class Coordinate:
    """The name of an artefact in a Maven repository."""

    group: str
    artifact: str
    version: str


class Maven:
    """Downloads and resolves artefacts into ``folder``.

    Args:
        folder: Where files go, in a Maven repository's layout.
        on_bytes: Called with the number of bytes of each block that arrives.

    Raises:
        LocalBrokerError: jgo is not installed.
    """

    def __init__(self, folder: Path, on_bytes: BytesRead | None = None) -> None:
        self._context = _context(folder, on_bytes)

    def download(self, coordinate: Coordinate, *, packaging: str = "jar") -> Path:
        """Fetch one file and return where it lies. Its content is unverified.

        Raises:
            DownloadFailed: The repository was not reached or does not hold the file.
        """
        component = self._context.project(coordinate.group, coordinate.artifact).at_version(coordinate.version)
        artifact = component.artifact(packaging=packaging)
        file = artifact.cached_path
        if file is not None:
            file.unlink(missing_ok=True)
        try:
            return artifact.resolve()
        except (OSError, RuntimeError) as error:  # requests' errors are OSErrors; jgo's own a RuntimeError
            raise DownloadFailed(f"{artifact}") from error

    def resolve(self, *roots: Coordinate) -> list[Coordinate]:
        """Return ``roots`` and all they need at run time, sorted. Takes some 20 s of CPU for Kafka."""
        wanted = [self._context.create_dependency(f"{c.group}:{c.artifact}:{c.version}") for c in roots]
        resolved, needed = self._context.resolver.resolve(wanted)
        return sorted({Coordinate(d.groupId, d.artifactId, d.version) for d in (*resolved, *needed)})


def _context(folder: Path, on_bytes: BytesRead | None) -> MavenContext:
    try:
        from jgo.maven import MavenContext, PythonResolver
    except ImportError as error:
        raise LocalBrokerError(
            'the local broker\'s jars are fetched by jgo, which is not installed: pip install "streamserve[demo]", '
            "or set KAFKA_HOME to an installed Kafka, or name a broker with --brokers"
        ) from error

    @contextmanager
    def progress(_name: str, _size: int) -> Generator[BytesRead]:
        yield on_bytes or (lambda _count: None)

    return MavenContext(PythonResolver(progress_callback=progress), repo_cache=folder, timeout=TIMEOUT_S)
