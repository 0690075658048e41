"""What every Python program of another engine is told, and the model that it scores with, one event at a time.

The comparer writes the job into environment variables, and the features into a file: an array of float32, six for each
user. These programs run in environments of their own, where there is nothing of ours but this file.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

BROKERS = os.environ.get("COMPARE_BROKERS", "127.0.0.1:9092")
SOURCE = os.environ.get("COMPARE_SOURCE", "in")
TARGET = os.environ.get("COMPARE_TARGET", "out")
APP = os.environ.get("COMPARE_APP", "compared")
COMMIT_SECONDS = float(os.environ.get("COMPARE_COMMIT_MS", "100")) / 1000
"""How often to commit."""
SCRATCH = Path(os.environ.get("COMPARE_SCRATCH", "."))
"""A folder for what an engine has to leave somewhere."""
VERSION = "1"
"""The model's, which every prediction names."""

_INPUTS = 8


class Model:
    """A 100-tree classifier and the features in memory; not to be used by two threads at once."""

    def __init__(self) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        onnx = Path(os.environ["COMPARE_MODEL"]).read_bytes()
        self._session = onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
        self._features = np.fromfile(os.environ["COMPARE_FEATURES"], "<f4").reshape(-1, _INPUTS - 2)
        self._row = np.empty((1, _INPUTS), np.float32)
        self._feed: dict[str, Any] = {"X": self._row}

    def one(self, amount: float, ts: int, user: int) -> float:
        """Return the probability for one event."""
        row = self._row
        row[0, 0] = amount
        row[0, 1] = ts
        row[0, 2:] = self._features[user]
        return float(self._session.run(["probabilities"], self._feed)[0][0, 1])

    def many(self, amounts: Sequence[float], times: Sequence[int], users: Sequence[int]) -> list[float]:
        """Return the probabilities of a batch of events."""
        rows = np.empty((len(amounts), _INPUTS), np.float32)
        rows[:, 0] = amounts
        rows[:, 1] = times
        rows[:, 2:] = self._features[users]
        return self._session.run(["probabilities"], {"X": rows})[0][:, 1].tolist()
