"""Models trained by scikit-learn in a second, with its own answers as their golden samples."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pydantic import JsonValue
from skl2onnx import to_onnx
from skl2onnx.common.data_types import FloatTensorType, Int64TensorType, StringTensorType
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import OrdinalEncoder

from streamserve.inference.manifest import (
    BinaryOutput,
    ClassificationOutput,
    GoldenSample,
    InputSpec,
    OutputColumn,
    TensorSpec,
)
from streamserve.inference.package import ModelPackage

from .onnx_models import write

FEATURES = tuple(f"x{index}" for index in range(8))
CLASSES = ("low", "mid", "high")


def training_matrix() -> NDArray[Any]:
    return np.random.default_rng(0).normal(size=(400, len(FEATURES))).astype(np.float32)


@cache
def tree_model() -> tuple[bytes, tuple[float, ...]]:
    """A two-class tree ensemble over one matrix, and scikit-learn's probabilities for the first five rows."""
    matrix = training_matrix()
    target = (matrix[:, 0] + matrix[:, 1] * matrix[:, 2] > 0.5).astype(int)
    model = GradientBoostingClassifier(n_estimators=20, random_state=0).fit(matrix, target)
    onnx = to_onnx(model, matrix[:1], options={"zipmap": False}, target_opset=18).SerializeToString()
    return onnx, tuple(model.predict_proba(matrix[:5])[:, 1].tolist())


def tree_package(registry: Path, *, version: str = "1", **rules: Any) -> ModelPackage:
    onnx, probabilities = tree_model()
    rows = tuple(dict(zip(FEATURES, row, strict=True)) for row in training_matrix()[:5].tolist())
    expected = tuple({"label": value > 0.5, "probability": value} for value in probabilities)
    return write(
        registry,
        onnx,
        inputs=[InputSpec(name=name, type="float", tensor="X", **rules) for name in FEATURES],
        tensors=[TensorSpec(name="X", dtype="float32", layout="matrix")],
        output=BinaryOutput(probability=OutputColumn(tensor="probabilities", column=1)),
        golden=GoldenSample(rows=rows, expected=expected),
        name="fraud",
        version=version,
    )


@cache
def multiclass_model() -> tuple[bytes, tuple[float, ...]]:
    """Three classes over two features, and scikit-learn's probabilities at (0.5, -1.0)."""
    matrix = training_matrix()[:, :2]
    model = LogisticRegression().fit(matrix, np.digitize(matrix.sum(axis=1), [-0.5, 0.5]))
    onnx = to_onnx(model, matrix[:1], options={"zipmap": False}, target_opset=18).SerializeToString()
    return onnx, tuple(model.predict_proba(np.array([[0.5, -1.0]], np.float32))[0].tolist())


def multiclass_package(registry: Path, *, label: OutputColumn | None = None) -> ModelPackage:
    onnx, probabilities = multiclass_model()
    best = int(np.argmax(probabilities))
    expected: dict[str, JsonValue] = {
        "label": CLASSES[best] if label is None else str(best),
        "probabilities": dict[str, JsonValue](zip(CLASSES, probabilities, strict=True)),
    }
    return write(
        registry,
        onnx,
        inputs=[InputSpec(name=name, type="float", tensor="X") for name in ("x0", "x1")],
        tensors=[TensorSpec(name="X", dtype="float32", layout="matrix")],
        output=ClassificationOutput(probabilities=OutputColumn(tensor="probabilities"), classes=CLASSES, label=label),
        golden=GoldenSample(rows=({"x0": 0.5, "x1": -1.0},), expected=(expected,)),
    )


CARRIERS = ("AA", "DL", "UA")


@cache
def pipeline_model() -> tuple[bytes, tuple[float, float]]:
    """A pipeline with named inputs, a string among them, and scikit-learn's answers to two rows."""
    random = np.random.default_rng(1)
    wind, hour = random.normal(size=300).astype(np.float32), random.integers(0, 24, 300)
    frame = pd.DataFrame({"wind": wind, "hour": hour, "carrier": random.choice(CARRIERS, 300)})
    steps = ColumnTransformer(
        [
            ("wind", SimpleImputer(strategy="median"), ["wind"]),
            ("hour", "passthrough", ["hour"]),
            ("carrier", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), ["carrier"]),
        ]
    )
    model = Pipeline([("prepare", steps), ("score", LogisticRegression())]).fit(frame, wind + hour / 12 > 1)
    types = [
        ("wind", FloatTensorType([None, 1])),
        ("hour", Int64TensorType([None, 1])),
        ("carrier", StringTensorType([None, 1])),
    ]
    onnx = to_onnx(model, initial_types=types, options={"zipmap": False}, target_opset=18).SerializeToString()
    sample = pd.DataFrame({"wind": [1.0, np.nan], "hour": [12, 3], "carrier": ["AA", "??"]})
    first, second = model.predict_proba(sample)[:, 1].tolist()
    return onnx, (first, second)


def pipeline_package(registry: Path) -> ModelPackage:
    onnx, (first, second) = pipeline_model()
    rows = ({"wind": 1.0, "hour": 12, "carrier": "AA"}, {"wind": None, "hour": 3, "carrier": None})
    expected = ({"label": first > 0.5, "probability": first}, {"label": second > 0.5, "probability": second})
    return write(
        registry,
        onnx,
        inputs=[
            InputSpec(name="wind", type="float", missing="nan"),
            InputSpec(name="hour", type="int", minimum=0, maximum=23),
            InputSpec(name="carrier", type="str", missing="default", default="??"),
        ],
        tensors=[
            TensorSpec(name="wind", dtype="float32"),
            TensorSpec(name="hour", dtype="int64"),
            TensorSpec(name="carrier", dtype="string"),
        ],
        output=BinaryOutput(probability=OutputColumn(tensor="probabilities", column=1)),
        golden=GoldenSample(rows=rows, expected=expected),
        name="delay",
    )
