"""Where the local broker keeps its files, by the platform's convention."""

from __future__ import annotations

from pathlib import Path

from streamserve.folders import cache_home, state_home


def kafka_cache(version: str) -> Path:
    """Return the folder of the verified jars of one Kafka version; deleting it costs only a download."""
    return cache_home() / "kafka" / version


def default_data_dir() -> Path:
    """Return the folder of the broker that ``streamserve broker start`` runs: its topics, settings and log."""
    return state_home() / "broker"
