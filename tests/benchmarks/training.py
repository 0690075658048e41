"""Write the benchmark's model package anew: ``python -m tests.benchmarks.training FOLDER``; needs extra ``train``.

The classifier learns nothing about the events: what counts is that its 100 trees have to be walked.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from numpy.typing import NDArray

from streamserve.inference.manifest import (
    BinaryOutput,
    GoldenSample,
    InputSpec,
    Lineage,
    OutputColumn,
    TensorSpec,
)
from streamserve.inference.package import write_package
from streamserve.inference.registry import Registry
from tests.benchmarks.workload import FEATURES, MODEL, VERSION, Transaction, event, feature_matrix

INPUTS = ("amount", "ts", *FEATURES)
_TREES = 100
_GOLDEN_ROWS = 20
_OPSET = 18


def publish(registry: Path) -> Path:
    """Train, write the package into ``registry``, let ``champion`` mean it, and return its folder."""
    from skl2onnx import to_onnx
    from sklearn.ensemble import GradientBoostingClassifier

    draws = np.random.default_rng(0).normal(size=(5000, len(INPUTS))).astype(np.float32)
    truth = (draws[:, 0] + draws[:, 1] * draws[:, 2] > 0.5).astype(np.int64)
    trees = GradientBoostingClassifier(n_estimators=_TREES, random_state=0)
    trees.fit(draws, truth)
    graph = to_onnx(trees, draws[:1], options={"zipmap": False}, target_opset=_OPSET)
    rows = _golden_rows()
    folder = write_package(
        registry,
        name=MODEL,
        version=VERSION,
        onnx=graph.SerializeToString(),
        inputs=[InputSpec(name=name, type="float", tensor="X") for name in INPUTS],
        tensors=[TensorSpec(name="X", dtype="float32", layout="matrix")],
        output=BinaryOutput(probability=OutputColumn(tensor="probabilities", column=1)),
        golden=_golden(rows, trees.predict_proba(rows)[:, 1]),
        lineage=Lineage(code="tests/benchmarks/training.py", data="drawn at random, seed 0"),
    )
    Registry(registry).set_alias(MODEL, "champion", VERSION)
    return folder


def _golden_rows() -> NDArray[np.float32]:
    events = [msgspec.json.decode(event(number), type=Transaction) for number in range(_GOLDEN_ROWS)]
    own = np.array([[item.amount, item.ts] for item in events], np.float32)
    return np.hstack([own, feature_matrix()[: len(events)]])


def _golden(rows: NDArray[np.float32], answers: NDArray[Any]) -> GoldenSample:
    probabilities: Sequence[float] = answers.tolist()
    return GoldenSample(
        rows=tuple(dict(zip(INPUTS, row, strict=True)) for row in rows.tolist()),
        expected=tuple({"probability": answer, "label": answer > 0.5} for answer in probabilities),
        tolerance=1e-4,
    )


if __name__ == "__main__":
    print(publish(Path(sys.argv[1])))
