"""The job that all engines are given, and how each is told."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.benchmarks.workload import MODEL, MODELS, VERSION, feature_matrix

PREFIX = "COMPARE_"


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Read ``source``, score, write ``target``; ``folder`` is the engine's own, ``app`` its name on the brokers."""

    brokers: str
    source: str
    target: str
    app: str
    commit_ms: int
    folder: Path
    features: Path
    quick: bool = False
    """Whether latency counts rather than throughput."""

    def as_environment(self) -> Mapping[str, str]:
        """Return the environment of the engine's process."""
        told = {
            "BROKERS": self.brokers,
            "SOURCE": self.source,
            "TARGET": self.target,
            "APP": self.app,
            "COMMIT_MS": str(self.commit_ms),
            "SCRATCH": str(self.folder),
            "FEATURES": str(self.features),
            "MODEL": str(MODELS / MODEL / VERSION / "model.onnx"),
            "QUICK": "1" if self.quick else "",
        }
        return {**os.environ, **{PREFIX + name: value for name, value in told.items()}}


def write_features(folder: Path) -> Path:
    """Write the features where every program can read them: float32, little-endian, row by row."""
    file = folder / "features.f4"
    file.write_bytes(feature_matrix().astype("<f4").tobytes())
    return file
