"""The runner of ONNX models, the only home of ONNX Runtime."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamserve.clock import Clock, SystemClock
from streamserve.errors import ModelRowError, PackageError
from streamserve.inference.batching import BATCH_SIZES, RunRefused, choose_batch_size, run_in_pieces
from streamserve.inference.columns import Column
from streamserve.inference.golden import golden_columns, verify
from streamserve.inference.manifest import PYTHON_TYPES, Dtype, Manifest, TensorSpec
from streamserve.inference.outputs import OutputReader
from streamserve.inference.package import ModelPackage
from streamserve.inference.runner import Scores
from streamserve.inference.tensors import Feeds, TensorBatch, TensorBuilder

if TYPE_CHECKING:
    from onnxruntime import InferenceSession, NodeArg

__all__ = ["OnnxRunner", "load_runner"]

_ONNX_TYPES: Mapping[Dtype, str] = {
    "float32": "tensor(float)",
    "float64": "tensor(double)",
    "int64": "tensor(int64)",
    "bool": "tensor(bool)",
    "string": "tensor(string)",
}
_ELEMENT_TYPES: Mapping[str, type] = {
    "tensor(float16)": float,
    "tensor(float)": float,
    "tensor(double)": float,
    "tensor(int32)": int,
    "tensor(int64)": int,
    "tensor(bool)": bool,
    "tensor(string)": str,
}
_FAILED_NODE = re.compile(r"while running (\w+) node")
_FATAL_ONLY = 4


def load_runner(
    package: ModelPackage, *, threads: int = 1, batch_size: int | None = None, clock: Clock | None = None
) -> OnnxRunner:
    """Load ``package``, warm it up, let it answer its golden sample, and choose its batch size by measuring.

    ``threads`` is how many a run may use: 1 suits a worker per core. Without ``batch_size`` choosing takes about 0.3 s;
    it is chosen anew at each load, and an answer can depend on it in the last bits where a model's arithmetic does.

    Raises:
        PackageError: the file is not a model, is not what its manifest says, or gives other answers.
    """
    runner = OnnxRunner(package, threads=threads)
    verify(runner, package.manifest)
    runner.batch_size = batch_size or runner.measure_batch_size(clock or SystemClock())
    return runner


class OnnxRunner:
    """One loaded version of a model; satisfies ``Runner``.

    ``load_runner`` makes one that is checked and tuned. It keeps nothing between calls, so threads may share it.

    Raises:
        PackageError: the file is not a model, or not what its manifest says.
    """

    batch_size: int = 1024

    def __init__(self, package: ModelPackage, *, threads: int = 1) -> None:
        manifest = package.manifest
        self.name = manifest.name
        self.version = manifest.version
        self.sha256 = manifest.sha256
        self.inputs: Mapping[str, type] = {column.name: PYTHON_TYPES[column.type] for column in manifest.inputs}
        self._manifest = manifest
        try:
            self._session = _open_session(package.onnx, threads)
            _check_inputs(manifest, self._session.get_inputs())
            self._reader = OutputReader(manifest.output, _offered(self._session.get_outputs()))
        except PackageError as error:
            raise PackageError(f"{package.path}: {error}; mend the manifest and publish a new version") from error
        self.outputs: Mapping[str, Any] = self._reader.types
        self._builder = TensorBuilder(manifest)

    def predict(self, columns: Mapping[str, Column], size: int) -> Scores:
        """Score ``size`` rows in runs of at most ``batch_size``; see ``Runner.predict``.

        Rows are refused, one by one, that break the manifest's rules (missing, type, range, infinite), that the model
        itself fails on, or whose answer is not finite.

        Raises:
            PlanError: a column is not there or has another length.
            PackageError: the model does not answer row by row, in the shape that its manifest says.
        """
        batch = self._builder.build(columns, size)
        arrays, refused = self._run(batch)
        if arrays is None:
            values: Mapping[str, Sequence[Any]] = dict.fromkeys(self.outputs, ())
            unusable: dict[int, str] = {}
        else:
            values = self._reader.read(arrays, unusable := {})
        if not (batch.faults or refused or unusable):
            return Scores(values, {})
        return self._partial(batch, refused, values, unusable, size)

    def measure_batch_size(self, clock: Clock) -> int:
        """Return the batch size that suits this model on this machine now, by scoring its golden rows repeated."""
        count = len(self._manifest.golden.rows)
        golden = self._builder.build(golden_columns(self._manifest), count).feeds
        feeds = {name: np.resize(feed, (BATCH_SIZES[-1], *feed.shape[1:])) for name, feed in golden.items()}

        def run(rows: int) -> None:
            self._run_once({name: feed[:rows] for name, feed in feeds.items()})

        return choose_batch_size(run, clock)

    def _run(self, batch: TensorBatch) -> tuple[Feeds | None, dict[int, str]]:
        """Return the output tensors of the rows of ``batch`` that can be scored, and why the others can't."""

        def run(start: int, stop: int) -> list[NDArray[Any]]:
            return self._run_once({name: feed[start:stop] for name, feed in batch.feeds.items()})

        parts: list[list[NDArray[Any]]] = []
        refused: dict[int, str] = {}
        for piece in run_in_pieces(run, batch.count, self.batch_size):
            if isinstance(piece.result, RunRefused):
                refused[piece.start] = str(piece.result)
            else:
                parts.append(piece.result)
        if not parts:
            return None, refused
        joined = parts[0] if len(parts) == 1 else [np.concatenate(arrays) for arrays in zip(*parts, strict=True)]
        return dict(zip(self._reader.tensors, joined, strict=True)), refused

    def _run_once(self, feeds: Feeds) -> list[NDArray[Any]]:
        """Run the session; its errors become ``RunRefused``."""
        try:
            arrays = self._session.run(self._reader.tensors, feeds)
        except MemoryError:
            raise
        except Exception as error:
            # The runtime's text may quote the row's values, so only the operator's name is kept of it.
            raise RunRefused(_refusal(error)) from None
        rows = len(next(iter(feeds.values())))
        if any(array.shape[:1] != (rows,) for array in arrays):
            shapes = {name: array.shape for name, array in zip(self._reader.tensors, arrays, strict=True)}
            raise PackageError(f"model {self.name} {self.version} answers {rows} rows with tensors of {shapes}")
        return arrays

    def _partial(
        self,
        batch: TensorBatch,
        refused: Mapping[int, str],
        values: Mapping[str, Sequence[Any]],
        unusable: Mapping[int, str],
        size: int,
    ) -> Scores:
        """Put the answers of the rows that were scored back into their places."""
        rows: list[int] = list(range(size)) if batch.rows is None else batch.rows.tolist()
        scored = [row for place, row in enumerate(rows) if place not in refused]
        rules = {
            **batch.faults,
            **{rows[place]: rule for place, rule in refused.items()},
            **{scored[place]: rule for place, rule in unusable.items()},
        }
        errors = {row: ModelRowError(f"model {self.name} {self.version}: {rules[row]}") for row in sorted(rules)}
        return Scores({name: _scattered(column, scored, size) for name, column in values.items()}, errors)


def _open_session(onnx: bytes, threads: int) -> InferenceSession:
    """Return a session for steady small runs beside other work: no spinning, no pools of its own.

    Memory patterns are kept per input shape, and batches have many: they are off, which cost nothing measurable. The
    runtime's own log is off but for fatal errors, because it quotes values; what goes wrong is raised all the same.
    Weights in files beside the model are refused, since the package's hash does not cover them.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
    options.enable_mem_pattern = False
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # Bytes alone would be completed with files of the working folder; nothing lies under the null device.
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", os.devnull)
    try:
        return onnxruntime.InferenceSession(onnx, options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise PackageError(f"ONNX Runtime does not load the model: {error}") from error


def _refusal(error: Exception) -> str:
    node = _FAILED_NODE.search(str(error))
    where = f" in operator {node[1]}" if node else ""
    return f"the model fails on this row{where} ({type(error).__name__})"


def _offered(outputs: Sequence[NodeArg]) -> Mapping[str, type]:
    """Return the Python type of the elements of each output that is a tensor."""
    return {output.name: _ELEMENT_TYPES[output.type] for output in outputs if output.type in _ELEMENT_TYPES}


def _check_inputs(manifest: Manifest, nodes: Sequence[NodeArg]) -> None:
    problems = list(_mismatches(manifest, {node.name: node for node in nodes}))
    if problems:
        raise PackageError("the manifest does not fit the model: " + "; ".join(problems))


def _mismatches(manifest: Manifest, nodes: Mapping[str, NodeArg]) -> Iterator[str]:
    """Say where the manifest's tensors differ from the session's inputs."""
    tensors = {tensor.name: tensor for tensor in manifest.tensors}
    for name in sorted(nodes.keys() ^ tensors.keys()):
        yield f"tensor {name!r} is only in the {'model' if name in nodes else 'manifest'}"
    for name in sorted(nodes.keys() & tensors.keys()):
        node, tensor = nodes[name], tensors[name]
        if node.type != _ONNX_TYPES[tensor.dtype]:
            yield f"tensor {name!r} is {node.type} in the model, {_ONNX_TYPES[tensor.dtype]} in the manifest"
        expected = _shape(tensor, len(manifest.columns_of(tensor)))
        if not _accepts(node.shape, expected):
            yield f"tensor {name!r} has shape {node.shape} in the model, {expected} in the manifest"


def _shape(tensor: TensorSpec, width: int) -> list[int | str]:
    return ["N"] if tensor.layout == "vector" else ["N", width]


def _accepts(shape: Sequence[int | str | None], expected: Sequence[int | str]) -> bool:
    """Return whether ``shape`` takes any number of rows of the ``expected`` width; a name or ``None`` takes any size.

    An empty shape says that the rank is not known.
    """
    if not shape:
        return True
    sizes_fit = all(not isinstance(size, int) or size == wanted for size, wanted in zip(shape, expected, strict=False))
    return len(shape) == len(expected) and sizes_fit


def _scattered(column: Sequence[Any], rows: Sequence[int], size: int) -> list[Any]:
    spread: list[Any] = [None] * size
    for row, value in zip(rows, column, strict=True):
        spread[row] = value
    return spread
