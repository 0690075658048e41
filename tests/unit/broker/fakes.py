"""A Maven repository in memory whose answers can be scripted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from streamserve.broker.manifest import Jar, Manifest
from streamserve.broker.maven import BytesRead, Coordinate, DownloadFailed

AWAY = None
"""Scripted answer: the repository is not reached."""

Answer = bytes | None


class ScriptedRepository:
    """Gives each artefact's answers in turn, the last one for ever."""

    def __init__(self, answers: Mapping[str, Sequence[Answer]]) -> None:
        self._answers = answers
        self._on_bytes: BytesRead = lambda _count: None
        self._folder = Path()
        self.asked: Counter[str] = Counter()

    def __call__(self, folder: Path, on_bytes: BytesRead) -> ScriptedRepository:
        self._folder, self._on_bytes = folder, on_bytes
        return self

    def download(self, coordinate: Coordinate) -> Path:
        answers = self._answers[coordinate.artifact]
        answer = answers[min(self.asked[coordinate.artifact], len(answers) - 1)]
        self.asked[coordinate.artifact] += 1
        if answer is None:
            raise DownloadFailed(str(coordinate)) from ConnectionError("refused")
        self._on_bytes(len(answer))
        file = self._folder / coordinate.artifact
        file.write_bytes(answer)
        return file


def manifest_of(contents: Mapping[str, bytes]) -> Manifest:
    """Pin some contents by artefact, each at version 1."""
    return Manifest(
        "4.0.0",
        tuple(
            Jar(group="g", artifact=name, version="1", sha256=sha256(content).hexdigest(), size=len(content))
            for name, content in contents.items()
        ),
    )
