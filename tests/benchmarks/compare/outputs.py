"""What an engine has written, and what it should have: the same predictions for the same events, each once."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from streamserve.errors import StreamserveError
from streamserve.testing.reading import iter_topic
from tests.benchmarks.workload import FEATURES, MODEL, MODELS, VERSION, Scored, Transaction, event, feature_matrix

_BATCH = 2048
_ROW = np.dtype([("id", np.int64), ("score", np.float32), ("label", np.bool_), ("time", np.int64)])


class WrongOutputs(StreamserveError):
    """An engine has not written what the job asks for; the text says how that shows."""


@dataclass(frozen=True, slots=True)
class Outputs:
    """Predictions in the order of their events' numbers, and when the broker took each, in no order.

    ``ids`` of int64, ``scores`` of float32, ``labels`` of bool; ``times`` of int64, milliseconds since the epoch.
    """

    ids: NDArray[np.int64]
    scores: NDArray[np.float32]
    labels: NDArray[np.bool_]
    times: NDArray[np.int64]

    def digest(self) -> str:
        """Return a SHA-256 over (id, score, label) of every event."""
        columns = (self.ids.astype("<i8"), self.scores.astype("<f4"), self.labels.astype("u1"))
        return hashlib.sha256(b"".join(column.tobytes() for column in columns)).hexdigest()


def read_outputs(brokers: str, topic: str) -> Outputs:
    """Return what a ``read_committed`` reader sees in ``topic``.

    Raises:
        OutageError: the topic's end is behind a transaction that nobody ends.
        msgspec.DecodeError: a value is no prediction.
    """
    decode = msgspec.json.Decoder(Scored).decode
    records = ((record.value or b"", record.timestamp_ms) for record in iter_topic(brokers, topic))
    return collected((decode(value), at) for value, at in records)


def collected(predictions: Iterable[tuple[Scored, int]]) -> Outputs:
    """Return predictions with their times as columns, ordered by event."""
    rows = np.fromiter(((found.id, found.probability, found.label, at) for found, at in predictions), _ROW)
    rows.sort(order="id", kind="stable")
    return Outputs(rows["id"], rows["score"], rows["label"], rows["time"])


def expected(count: int) -> Outputs:
    """Compute what has to come out for the first ``count`` events, without any engine."""
    model = (MODELS / MODEL / VERSION / "model.onnx").read_bytes()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # more of them sum the trees' votes in another order, and last bits differ
    session = onnxruntime.InferenceSession(model, options, ["CPUExecutionProvider"])
    scores = np.empty(count, np.float32)
    for start in range(0, count, _BATCH):
        stop = min(start + _BATCH, count)
        scores[start:stop] = session.run(None, {"X": _rows(range(start, stop))})[1][:, 1]
    return Outputs(np.arange(count, dtype=np.int64), scores, scores > 0.5, np.zeros(0, np.int64))


def check(found: Outputs, truth: Outputs) -> str:
    """Return the digest of both, which is the same.

    Raises:
        WrongOutputs: events are missing or written twice, or predictions differ.
    """
    count = len(truth.ids)
    times_seen = np.bincount(found.ids, minlength=count)
    if len(found.ids) != count or (times_seen != 1).any():
        missing, twice = int((times_seen[:count] == 0).sum()), int((times_seen > 1).sum())
        raise WrongOutputs(f"{len(found.ids):,} predictions of {count:,} events: {missing} missing, {twice} twice")
    differ = np.flatnonzero((found.scores != truth.scores) | (found.labels != truth.labels))
    if found.digest() != truth.digest():
        raise WrongOutputs(f"{len(differ):,} of {count:,} predictions differ, the first that of event {differ[:1]}")
    return truth.digest()


def _rows(numbers: range) -> NDArray[np.float32]:
    events = [msgspec.json.decode(event(number), type=Transaction) for number in numbers]
    rows = np.empty((len(events), 2 + len(FEATURES)), np.float32)
    rows[:, 0] = [item.amount for item in events]
    rows[:, 1] = [item.ts for item in events]
    rows[:, 2:] = feature_matrix()[[item.user for item in events]]
    return rows
