"""Where the local broker keeps its files, by the platform's convention."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def kafka_cache(version: str) -> Path:
    """Return the folder of the verified jars of one Kafka version; deleting it costs only a download."""
    return _home("XDG_CACHE_HOME", linux=".cache", mac="Library/Caches") / "streamserve" / "kafka" / version


def default_data_dir() -> Path:
    """Return the folder of the broker that ``streamserve broker start`` runs: its topics, settings and log."""
    return _home("XDG_STATE_HOME", linux=".local/state", mac="Library/Application Support") / "streamserve" / "broker"


def _home(variable: str, *, linux: str, mac: str) -> Path:
    """Follow the XDG base directory specification; a relative value is ignored, as it demands."""
    given = Path(os.environ.get(variable, ""))
    if given.is_absolute():
        return given
    return Path.home() / (mac if sys.platform == "darwin" else linux)
