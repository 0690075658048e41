# What streamserve.inference.training, topologies.flights.training and the tests call of skl2onnx, which has no types.

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import NDArray
from skl2onnx.common.data_types import TensorType

class ValueInfo:
    name: str

class Graph:
    input: Sequence[ValueInfo]
    output: Sequence[ValueInfo]

class ModelProto:
    graph: Graph
    def SerializeToString(self) -> bytes: ...  # noqa: N802 - protobuf's name

def to_onnx(
    model: object,
    X: NDArray[Any] | None = None,  # noqa: N803 - the library's name
    *,
    name: str = ...,
    initial_types: Sequence[tuple[str, TensorType]] | None = None,
    options: Mapping[str, bool] | None = None,
    target_opset: int | None = None,
) -> ModelProto: ...
