"""What a feature row takes from the cache and from Feast's SQLite store."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from streamserve.features.base import FeatureReader
from streamserve.features.service import JoinOptions
from tests.benchmarks.feature_repo import build
from tests.benchmarks.workload import SERVICE, USERS

_BATCH = 1_000


def measure_features(rounds: int) -> dict[str, float]:
    """Return microseconds of processor time for a row of six features: the best of ``rounds``, in batches of 1,000."""
    from streamserve.features.feast import FeastReader

    missed: list[float] = []
    hit: list[float] = []
    with TemporaryDirectory() as folder:
        repo = Path(folder) / "repo"
        build(repo)
        for _ in range(rounds):
            reader = FeastReader(repo, SERVICE, options=JoinOptions(cache_max_age=timedelta(minutes=10)))
            missed.append(_pass_us(reader))
            hit.append(_pass_us(reader))
            reader.close()
    return {"FEATURE_MISS_US": round(min(missed) - min(hit), 1), "cached_us": round(min(hit), 2)}


def _pass_us(reader: FeatureReader) -> float:
    """Read every user once."""
    batches: Sequence[Mapping[str, Sequence[int]]] = [
        {"user": range(start, start + _BATCH)} for start in range(0, USERS, _BATCH)
    ]
    now_ms = [int(time.time() * 1000)] * _BATCH
    started = time.process_time()
    for keys in batches:
        reader.read(keys, now_ms)
    return (time.process_time() - started) / USERS * 1e6
