"""The pinned list of jars that make one Kafka broker."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from hashlib import file_digest
from pathlib import Path

MANIFEST_FILE = Path(__file__).with_name("manifest.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Jar:
    """One Maven artefact, pinned by version and content. ``size`` is in bytes."""

    group: str
    artifact: str
    version: str
    sha256: str
    size: int

    @property
    def file_name(self) -> str:
        """The name of the file, unique within a manifest."""
        return f"{self.artifact}-{self.version}.jar"

    @property
    def coordinate(self) -> str:
        """``group:artifact:version``, as Maven writes it."""
        return f"{self.group}:{self.artifact}:{self.version}"

    def matches(self, file: Path) -> bool:
        """Tell whether ``file`` is there and holds exactly the pinned bytes."""
        try:
            if file.stat().st_size != self.size:
                return False
            with file.open("rb") as stream:
                return file_digest(stream, "sha256").hexdigest() == self.sha256
        except FileNotFoundError:
            return False


@dataclass(frozen=True, slots=True)
class Manifest:
    """All jars of one Kafka version."""

    kafka: str
    jars: tuple[Jar, ...]

    def __post_init__(self) -> None:
        names = [jar.file_name for jar in self.jars]
        if len(set(names)) != len(names):
            raise ValueError("two jars of the manifest have one file name, so one would replace the other")

    @property
    def size(self) -> int:
        """Bytes of all jars together."""
        return sum(jar.size for jar in self.jars)

    def to_json(self) -> str:
        """Return the manifest as JSON with one jar per line, so that a change of version reads well as a diff."""
        lines = ",\n".join("    " + json.dumps(asdict(jar)) for jar in self.jars)
        return f'{{\n  "kafka": {json.dumps(self.kafka)},\n  "jars": [\n{lines}\n  ]\n}}\n'

    @classmethod
    def from_json(cls, text: str) -> Manifest:
        """Read what ``to_json`` wrote.

        >>> jar = Jar(group="org.example", artifact="a", version="1", sha256="00", size=3)
        >>> Manifest.from_json(Manifest("4.3.1", (jar,)).to_json()).jars[0].file_name
        'a-1.jar'
        """
        content = json.loads(text)
        return cls(content["kafka"], tuple(Jar(**entry) for entry in content["jars"]))


def load_manifest() -> Manifest:
    """Return the manifest that this release of streamserve is tested with."""
    return Manifest.from_json(MANIFEST_FILE.read_text(encoding="utf-8"))
