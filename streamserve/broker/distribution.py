"""Which Kafka the local broker runs: an installed one, or the pinned jars."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from streamserve.broker.download import OpenBar, fetch_jars
from streamserve.broker.manifest import load_manifest
from streamserve.broker.paths import kafka_cache
from streamserve.broker.progress import download_bar
from streamserve.errors import LocalBrokerError


@dataclass(frozen=True, slots=True)
class Distribution:
    """The jars of one Kafka. ``source`` says where they were found."""

    version: str
    source: str
    class_path: tuple[Path, ...]


def find_distribution(*, open_bar: OpenBar = download_bar) -> Distribution:
    """Return the Kafka under ``KAFKA_HOME`` where that is set, else the pinned one, downloaded where it is missing.

    An installed Kafka is taken as it is: nothing is verified. It must be 4.0 or newer.

    Raises:
        LocalBrokerError: ``KAFKA_HOME`` holds no Kafka, or the pinned jars cannot be had.
    """
    home = os.environ.get("KAFKA_HOME")
    if home:
        return _installed(Path(home))
    manifest = load_manifest()
    jars = fetch_jars(manifest, kafka_cache(manifest.kafka), open_bar=open_bar)
    return Distribution(manifest.kafka, "pinned", tuple(jars))


def _installed(home: Path) -> Distribution:
    jars = sorted((home / "libs").glob("*.jar"))
    versions = [match[1] for jar in jars if (match := re.fullmatch(r"kafka_2\.\d+-(\d[\w.]*)\.jar", jar.name))]
    if not versions:
        raise LocalBrokerError(
            f"KAFKA_HOME is {home}, and no kafka_2.*.jar lies in its libs folder: "
            "set it to an unpacked Kafka, or unset it to use the pinned one"
        )
    return Distribution(versions[0], "KAFKA_HOME", tuple(jars))
