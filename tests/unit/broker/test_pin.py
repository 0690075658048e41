"""A jar is pinned only where it agrees with the checksum that is published beside it."""

from __future__ import annotations

from hashlib import new as new_hash
from pathlib import Path

import pytest

from streamserve.broker.maven import Coordinate, DownloadFailed
from streamserve.broker.pin import pin

LOG4J = Coordinate("org.apache.logging.log4j", "log4j-core", "2.25.4")


class FakeMaven:
    """Holds every artefact, and checksums of one kind."""

    def __init__(self, folder: Path, algorithm: str, *, altered: bool = False) -> None:
        self._folder = folder
        self._algorithm = algorithm
        self._altered = altered

    def resolve(self, *roots: Coordinate) -> list[Coordinate]:
        return [*roots, LOG4J]

    def download(self, coordinate: Coordinate, *, packaging: str = "jar") -> Path:
        content = coordinate.artifact.encode()
        if packaging == f"jar.{self._algorithm}":
            digest = new_hash(self._algorithm, content + b"!" if self._altered else content).hexdigest()
            content = f"{digest.upper()}  {coordinate.artifact}.jar\n".encode()
        elif packaging != "jar":
            raise DownloadFailed(packaging)
        file = self._folder / f"{coordinate.artifact}.{packaging}"
        file.write_bytes(content)
        return file


@pytest.mark.parametrize("algorithm", ["sha256", "sha1"])
def test_closure_and_log_binding_are_pinned_by_sha256(tmp_path: Path, algorithm: str) -> None:
    manifest = pin("4.0.0", FakeMaven(tmp_path, algorithm))
    assert [(jar.artifact, jar.version) for jar in manifest.jars] == [
        ("kafka_2.13", "4.0.0"),
        ("kafka-tools", "4.0.0"),
        ("log4j-core", "2.25.4"),
        ("log4j-slf4j-impl", "2.25.4"),
    ]
    assert manifest.jars[0].sha256 == new_hash("sha256", b"kafka_2.13").hexdigest()


def test_jar_that_differs_from_its_checksum_is_not_pinned(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="differs from its published sha1"):
        pin("4.0.0", FakeMaven(tmp_path, "sha1", altered=True))


def test_jar_without_a_checksum_is_not_pinned(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no published checksum"):
        pin("4.0.0", FakeMaven(tmp_path, "md5"))
