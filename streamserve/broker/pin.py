"""Write the manifest anew: ``python -m streamserve.broker.pin 4.3.1``.

Resolves Kafka's broker and tools with all they need at run time, downloads each jar, holds it against the checksum
that the repository publishes beside it, and records version, size and sha256. Needed for an upgrade only; the result
is committed and reviewed as a diff.
"""

from __future__ import annotations

import sys
from hashlib import new as new_hash
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from streamserve.broker.manifest import MANIFEST_FILE, Jar, Manifest
from streamserve.broker.maven import Coordinate, DownloadFailed, Maven

ROOTS = ("kafka_2.13", "kafka-tools")
CHECKSUMS = ("sha256", "sha1")


class Source(Protocol):
    """A Maven repository that can be asked for what an artefact needs."""

    def resolve(self, *roots: Coordinate) -> list[Coordinate]:
        """Return ``roots`` and all they need at run time."""
        ...

    def download(self, coordinate: Coordinate, *, packaging: str = "jar") -> Path:
        """Bring one file; raise ``DownloadFailed`` where it cannot be had."""
        ...


def pin(kafka_version: str, maven: Source) -> Manifest:
    """Resolve and download one Kafka version, and return its manifest.

    Raises:
        DownloadFailed: The repository was not reached.
        ValueError: A jar differs from the checksum published beside it, or none is published.
    """
    closure = maven.resolve(*(Coordinate("org.apache.kafka", name, kafka_version) for name in ROOTS))
    jars = [_pinned(maven, coordinate) for coordinate in [*closure, _log_binding(closure)]]
    return Manifest(kafka_version, tuple(jars))


def _log_binding(closure: list[Coordinate]) -> Coordinate:
    """Kafka logs through SLF4J and leaves the binding to its distribution; without one a broker logs nothing."""
    core = next(c for c in closure if c.artifact == "log4j-core")
    return Coordinate(core.group, "log4j-slf4j-impl", core.version)


def _pinned(maven: Source, coordinate: Coordinate) -> Jar:
    content = maven.download(coordinate).read_bytes()
    algorithm, published = _published_checksum(maven, coordinate)
    if new_hash(algorithm, content).hexdigest() != published:
        raise ValueError(f"{coordinate} differs from its published {algorithm}: not pinned")
    return Jar(
        group=coordinate.group,
        artifact=coordinate.artifact,
        version=coordinate.version,
        sha256=new_hash("sha256", content).hexdigest(),
        size=len(content),
    )


def _published_checksum(maven: Source, coordinate: Coordinate) -> tuple[str, str]:
    """Return the strongest checksum beside a jar; the file holds the digest alone or followed by a file name."""
    for algorithm in CHECKSUMS:
        try:
            text = maven.download(coordinate, packaging=f"jar.{algorithm}").read_text(encoding="ascii")
        except DownloadFailed:
            continue
        return algorithm, text.split()[0].lower()
    raise ValueError(f"{coordinate} has no published checksum: not pinned")


def main() -> None:
    """Pin the version named on the command line and write it over the package's manifest."""
    with TemporaryDirectory() as folder:
        manifest = pin(sys.argv[1], Maven(Path(folder)))
    MANIFEST_FILE.write_text(manifest.to_json(), encoding="utf-8")
    sys.stdout.write(f"{len(manifest.jars)} jars, {manifest.size:,} bytes: {MANIFEST_FILE}\n")


if __name__ == "__main__":
    main()
