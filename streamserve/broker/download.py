"""Fetch the pinned jars into the user's cache, and never use one that was not verified."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Protocol

from streamserve.broker.lock import exclusive
from streamserve.broker.manifest import Jar, Manifest
from streamserve.broker.maven import BytesRead, Coordinate, DownloadFailed, Maven
from streamserve.errors import LocalBrokerError

OpenBar = Callable[[Manifest, int], AbstractContextManager[BytesRead]]
"""Opens a progress display for so many bytes of a manifest, and gives the function that advances it."""


class Repository(Protocol):
    """Where jars come from; its word is not trusted."""

    def download(self, coordinate: Coordinate) -> Path:
        """Bring one jar and return where it lies, unverified; raise ``DownloadFailed`` where it cannot be had."""
        ...


OpenRepository = Callable[[Path, BytesRead], Repository]
"""Opens a repository that writes into a folder and reports each block of bytes."""

BACKOFF_S = (1.0, 3.0)
"""Pauses before the second and the third attempt at one jar."""


def fetch_jars(
    manifest: Manifest,
    folder: Path,
    *,
    open_bar: OpenBar,
    open_repository: OpenRepository = Maven,
    backoff_s: Sequence[float] = BACKOFF_S,
) -> list[Path]:
    """Return the manifest's jars in ``folder``, each verified by sha256 in this call.

    What is missing or altered is downloaded into a temporary folder, verified there, and renamed into place; a jar in
    place is therefore complete. Processes that start together wait for one of them to download.

    Raises:
        LocalBrokerError: A jar did not arrive, or arrived altered, at every attempt.
    """
    with exclusive(folder / ".lock"):
        missing = [jar for jar in manifest.jars if not jar.matches(folder / jar.file_name)]
        if missing:
            with (
                open_bar(manifest, sum(jar.size for jar in missing)) as on_bytes,
                TemporaryDirectory(dir=folder, prefix=".download-") as scratch,
            ):
                repository = open_repository(Path(scratch), on_bytes)
                for jar in missing:
                    _verified(repository, jar, backoff_s).replace(folder / jar.file_name)
    return [folder / jar.file_name for jar in manifest.jars]


def _verified(repository: Repository, jar: Jar, backoff_s: Sequence[float]) -> Path:
    """Try until one jar has arrived with the pinned bytes."""
    failure: DownloadFailed | None = None
    for pause in (0.0, *backoff_s):
        time.sleep(pause)
        try:
            file = repository.download(Coordinate(jar.group, jar.artifact, jar.version))
        except DownloadFailed as error:
            failure = error
            continue
        if jar.matches(file):
            return file
        failure = None
    attempts = len(backoff_s) + 1
    raise _not_reached(jar, attempts, failure) if failure else _altered(jar, attempts)


def _not_reached(jar: Jar, attempts: int, failure: Exception) -> LocalBrokerError:
    error = LocalBrokerError(
        f"{jar.coordinate} could not be downloaded in {attempts} attempts ({type(failure.__cause__).__name__}): "
        "check the network (proxies: HTTPS_PROXY), or set KAFKA_HOME to an installed Kafka, "
        "or name a running broker with --brokers"
    )
    error.__cause__ = failure
    return error


def _altered(jar: Jar, attempts: int) -> LocalBrokerError:
    return LocalBrokerError(
        f"{jar.coordinate} arrived {attempts} times with other bytes than pinned (sha256 {jar.sha256[:12]}…, "
        f"{jar.size:,} bytes): something between here and the repository alters or cuts files; use another network, "
        "or set KAFKA_HOME to an installed Kafka"
    )
