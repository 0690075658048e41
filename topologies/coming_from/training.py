"""Makes the model of the ported app: ``python -m topologies.coming_from.training FOLDER``."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from streamserve.inference.manifest import BinaryOutput, GoldenSample, InputSpec, OutputColumn, TensorSpec
from streamserve.inference.package import write_package
from streamserve.inference.registry import Registry

__all__ = ["publish"]

NAMES = ("words", "marks")
_EVEN = 0.5


def publish(models: Path) -> Path:
    """Train on made-up posts, short ones with many exclamation marks being clickbait; return the new package."""
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    posts = np.random.default_rng(0).integers(0, 12, (500, len(NAMES))).astype(np.float32)
    trained = LogisticRegression().fit(posts, posts[:, 1] > posts[:, 0])
    probabilities = trained.predict_proba(posts[:20])[:, 1]
    folder = write_package(
        models,
        name="clickbait",
        version="1",
        onnx=to_onnx(trained, posts[:1], options={"zipmap": False}).SerializeToString(),
        inputs=[InputSpec(name=name, type="float", tensor="X", missing="reject") for name in NAMES],
        tensors=[TensorSpec(name="X", dtype="float32", layout="matrix")],
        output=BinaryOutput(probability=OutputColumn(tensor="probabilities", column=1)),
        golden=GoldenSample(
            rows=tuple({"words": float(words), "marks": float(marks)} for words, marks in posts[:20]),
            expected=tuple({"label": bool(p > _EVEN), "probability": float(p)} for p in probabilities),
        ),
    )
    Registry(models).set_alias("clickbait", "champion", "1")
    return folder


if __name__ == "__main__":
    publish(Path(sys.argv[1]))
