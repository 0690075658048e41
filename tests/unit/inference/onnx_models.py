"""The smallest graphs that show one thing each, and packages of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

from streamserve.inference.manifest import (
    BinaryOutput,
    GoldenSample,
    InputSpec,
    OutputColumn,
    OutputSpec,
    RegressionOutput,
    TensorSpec,
)
from streamserve.inference.package import ModelPackage, load_package, write_package
from streamserve.inference.registry import Registry

Shape: TypeAlias = Sequence[int | str]


def graph(
    nodes: Sequence[NodeProto],
    inputs: Sequence[ValueInfoProto],
    outputs: Sequence[ValueInfoProto],
    constants: Mapping[str, NDArray[Any]] | None = None,
) -> bytes:
    initializers = [numpy_helper.from_array(value, name) for name, value in (constants or {}).items()]
    built = helper.make_graph(nodes, "test", inputs, outputs, initializers)
    return helper.make_model(built, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def floats(name: str, shape: Shape = ("N", 1)) -> ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def identity(kind: int = TensorProto.FLOAT, shape: Shape = ("N", 1)) -> bytes:
    """``y = x`` for one tensor of any type."""
    source, target = (helper.make_tensor_value_info(name, kind, shape) for name in ("x", "y"))
    return graph([helper.make_node("Identity", ["x"], ["y"])], [source], [target])


def unary(operator: str) -> bytes:
    """``y = operator(x)``: not finite where ``Sqrt`` or ``Log`` is not."""
    return graph([helper.make_node(operator, ["x"], ["y"])], [floats("x")], [floats("y")])


def lookup(size: int = 3) -> bytes:
    """``y = 10 * x``, read out of a table of ``size``: the whole run fails when one ``x`` is beyond it."""
    source = helper.make_tensor_value_info("x", TensorProto.INT64, ["N"])
    table = np.arange(size, dtype=np.float32) * 10
    return graph([helper.make_node("Gather", ["table", "x"], ["y"])], [source], [floats("y", ["N"])], {"table": table})


def write(
    registry: Path,
    onnx: bytes,
    *,
    inputs: Sequence[InputSpec],
    tensors: Sequence[TensorSpec],
    output: OutputSpec,
    golden: GoldenSample,
    name: str = "model",
    version: str = "1",
) -> ModelPackage:
    folder = write_package(
        registry, name=name, version=version, onnx=onnx, inputs=inputs, tensors=tensors, output=output, golden=golden
    )
    return load_package(folder)


def scalar_package(
    registry: Path, onnx: bytes, spec: InputSpec, tensor: TensorSpec, *golden: Any, version: str = "1"
) -> ModelPackage:
    """A model of one input ``x`` that answers ``y``; ``golden`` is ``x, y``."""
    x, y = golden
    sample = GoldenSample(rows=({"x": x},), expected=({"value": y},))
    output = RegressionOutput(value=OutputColumn(tensor="y"))
    return write(registry, onnx, inputs=[spec], tensors=[tensor], output=output, golden=sample, version=version)


def float_package(
    registry: Path, onnx: bytes | None = None, *, x: float = 1.0, y: float = 1.0, version: str = "1"
) -> ModelPackage:
    """A model of one float, by default ``value = x``, with the golden answer ``y`` to ``x``."""
    spec, tensor = InputSpec(name="x", type="float"), TensorSpec(name="x", dtype="float32")
    return scalar_package(registry, onnx or identity(), spec, tensor, x, y, version=version)


def unread_package(folder: Path) -> Path:
    """Publish version 1 of ``risk``, whose model nobody runs; return the package's folder."""
    package = write_package(
        folder,
        name="risk",
        version="1",
        onnx=b"a model",
        inputs=[InputSpec(name="amount", type="float", tensor="X", missing="reject")],
        tensors=[TensorSpec(name="X", dtype="float32", layout="matrix")],
        output=BinaryOutput(probability=OutputColumn(tensor="probabilities", column=1)),
        golden=GoldenSample(rows=({"amount": 1.0},), expected=({"label": False, "probability": 0.1},)),
    )
    Registry(folder).set_alias("risk", "champion", "1")
    return package
