"""Offline scoring of logged rows: a second way to the same answer, to hold the engine's predictions against.

Plain ONNX Runtime on whole columns. Nothing of the engine is used, not even to read the package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["MODELS", "score_offline"]

MODELS = Path(__file__).with_name("models")
"""The registry of this topology's models."""


def score_offline(
    rows: Sequence[Mapping[str, Any]], *, version: str = "1", registry: str | Path = MODELS
) -> NDArray[np.float32]:
    """Return the probability of late arrival for each row, shape ``[len(rows)]``.

    A row holds every input of the model by name, ``None`` where missing; other fields are ignored.

    Raises:
        KeyError: a row lacks an input.
    """
    from onnxruntime import InferenceSession, SessionOptions

    model = (Path(registry) / "delay" / version / "model.onnx").read_bytes()
    session = InferenceSession(model, SessionOptions(), ["CPUExecutionProvider"])
    feeds = {each.name: _column([row[each.name] for row in rows], each.type) for each in session.get_inputs()}
    (probabilities,) = session.run(["probabilities"], feeds)
    return np.asarray(probabilities, dtype=np.float32)[:, 1]


def _column(values: Sequence[Any], kind: str) -> NDArray[Any]:
    """Return one input as ``[N, 1]``: missing text is empty, a missing number is NaN."""
    if kind == "tensor(string)":
        return np.array([[value or ""] for value in values], dtype=np.object_)
    return np.array([[np.nan if value is None else value] for value in values], dtype=np.float32)
