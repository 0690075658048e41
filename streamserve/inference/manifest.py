"""The manifest of a model package: what goes in, what comes out, where it comes from and how to tell that it works.

Everything here is plain frozen data that reads and writes JSON; unknown fields are refused. The file itself, its hash
and its place on disk belong to ``package``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, JsonValue, model_validator

from streamserve.baseline import Baseline, ColumnBaseline

__all__ = [
    "FORMAT",
    "PYTHON_TYPES",
    "BinaryOutput",
    "ClassificationOutput",
    "CustomOutput",
    "GoldenSample",
    "InputSpec",
    "Lineage",
    "Manifest",
    "OutputColumn",
    "OutputSpec",
    "RegressionOutput",
    "TensorSpec",
]

FORMAT = 1
"""The version of the manifest's layout that this module reads and writes."""

InputType: TypeAlias = Literal["float", "int", "str", "bool"]
Dtype: TypeAlias = Literal["float32", "float64", "int64", "bool", "string"]
InputValue: TypeAlias = float | int | str | bool | None
Label: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]
"""A model's name or version: safe as a folder's name, a metric label and a header."""

PYTHON_TYPES: Mapping[InputType, type] = {"float": float, "int": int, "str": str, "bool": bool}

_FLOATS = frozenset({"float32", "float64"})
_CARRIERS: Mapping[InputType, frozenset[str]] = {
    "float": _FLOATS,
    "int": _FLOATS | {"int64"},
    "bool": _FLOATS | {"int64", "bool"},
    "str": frozenset({"string"}),
}
_DEFAULTS: Mapping[InputType, frozenset[type]] = {
    "float": frozenset({float, int}),
    "int": frozenset({int}),
    "bool": frozenset({bool}),
    "str": frozenset({str}),
}


class _Plain(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class InputSpec(_Plain):
    """One input column of the model, in the model's order.

    ``tensor`` names the ONNX input that it feeds, by default the one of its own name. ``missing`` says what becomes of
    a row in which it is ``None`` (or NaN): ``"reject"`` refuses the row, ``"nan"`` hands NaN to the model (tensors of
    floats only), ``"default"`` puts ``default`` in its place. Rows outside ``minimum`` to ``maximum``, both included,
    are refused; a missing value that stays missing is not held against them.

    >>> InputSpec(name="distance", type="float", missing="nan").feeds
    'distance'
    """

    name: Annotated[str, Field(min_length=1)]
    type: InputType
    tensor: str | None = None
    missing: Literal["reject", "nan", "default"] = "reject"
    default: InputValue = None
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None

    @property
    def feeds(self) -> str:
        """The name of the tensor that takes this column."""
        return self.tensor or self.name

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.missing == "default") != (self.default is not None):
            raise ValueError(f'input {self.name!r}: missing="default" and a default value go together')
        if self.default is not None and type(self.default) not in _DEFAULTS[self.type]:
            raise ValueError(f"input {self.name!r}: the default of a {self.type} is a {type(self.default).__name__}")
        if self.type in {"str", "bool"} and (self.minimum is not None or self.maximum is not None):
            raise ValueError(f"input {self.name!r}: minimum and maximum are for numbers, not for {self.type}")
        if isinstance(self.default, (int, float)) and not self.allows(self.default):
            raise ValueError(f"input {self.name!r}: the default is outside minimum to maximum")
        return self

    def allows(self, number: float) -> bool:
        """Return whether ``number`` is within ``minimum`` to ``maximum``."""
        above = self.minimum is None or number >= self.minimum
        return above and (self.maximum is None or number <= self.maximum)


class TensorSpec(_Plain):
    """One ONNX input: a ``vector`` ``[N]`` or ``column`` ``[N, 1]`` of one input, or a ``matrix`` ``[N, k]`` of k.

    The columns of a matrix are the inputs that name the tensor, in the manifest's order.
    """

    name: str
    dtype: Dtype
    layout: Literal["vector", "column", "matrix"] = "column"


class OutputColumn(_Plain):
    """Where an answer is found: an ONNX output, and which of its columns where it has several.

    Without ``column``, ``[N]`` and ``[N, 1]`` give one value a row, ``[N, k]`` gives a list of k.
    """

    tensor: str
    column: Annotated[int, Field(ge=0)] | None = None


class BinaryOutput(_Plain):
    """Answer of a two-class model, as ``streamserve.Binary``.

    ``label`` is whether ``probability`` is above ``threshold`` (at equality it is not, as in scikit-learn). ``classes``
    name what it tells apart, where that is known: first what ``False`` means, then what ``True`` means.
    """

    kind: Literal["binary"] = "binary"
    probability: OutputColumn
    threshold: Annotated[float, Field(ge=0, le=1)] = 0.5
    classes: tuple[str, str] | None = None

    @property
    def columns(self) -> Mapping[str, OutputColumn]:
        """What is read from the session."""
        return {"probability": self.probability}

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the answer's fields."""
        return ("label", "probability")


class ClassificationOutput(_Plain):
    """Answer of a model of many classes, as ``streamserve.Classification``.

    ``probabilities`` is a tensor ``[N, k]`` with a column for each of ``classes``, in order. The label is the first
    most probable class, or, for models that decide otherwise, what the string or integer tensor ``label`` says.
    """

    kind: Literal["classification"] = "classification"
    probabilities: OutputColumn
    classes: Annotated[tuple[str, ...], Field(min_length=2)]
    label: OutputColumn | None = None

    @property
    def columns(self) -> Mapping[str, OutputColumn]:
        """What is read from the session."""
        label = {} if self.label is None else {"label": self.label}
        return {"probabilities": self.probabilities, **label}

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the answer's fields."""
        return ("label", "probabilities")


class RegressionOutput(_Plain):
    """Answer of a model of a quantity, as ``streamserve.Regression``."""

    kind: Literal["regression"] = "regression"
    value: OutputColumn

    @property
    def columns(self) -> Mapping[str, OutputColumn]:
        """What is read from the session."""
        return {"value": self.value}

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the answer's fields."""
        return ("value",)


class CustomOutput(_Plain):
    """Answer as a dataclass of the user's: each of its fields is read from one place."""

    kind: Literal["custom"] = "custom"
    columns: Annotated[Mapping[str, OutputColumn], Field(min_length=1)]

    @property
    def fields(self) -> tuple[str, ...]:
        """The names of the answer's fields."""
        return tuple(self.columns)


OutputSpec: TypeAlias = Annotated[
    BinaryOutput | ClassificationOutput | RegressionOutput | CustomOutput, Field(discriminator="kind")
]
"""How tensors become the typed answer, told apart by ``kind``."""


class GoldenSample(_Plain):
    """Rows with known answers, scored at every load: a model that answers otherwise does not serve.

    ``rows`` hold every input by name, ``expected`` every output field. Take the answers from the training framework,
    not from the ONNX file, so that a bad conversion shows. Numbers may differ by ``tolerance``, relative or absolute,
    whichever is wider; everything else must be equal. The rows are repeated to measure speed, so let them be typical.
    """

    rows: Annotated[tuple[Mapping[str, InputValue], ...], Field(min_length=1, max_length=1000)]
    expected: tuple[Mapping[str, JsonValue], ...]
    tolerance: Annotated[FiniteFloat, Field(gt=0)] = 1e-5


class Lineage(_Plain):
    """Where a model comes from: commit of the code, identity of the data, training run, when (UTC) and by whom."""

    code: str = ""
    data: str = ""
    run: str = ""
    created_at: AwareDatetime | None = None
    created_by: str = ""
    notes: Mapping[str, str] = Field(default_factory=dict[str, str])


class Manifest(_Plain):
    """All that is known of one version of a model but its weights, which ``sha256`` pins."""

    format: Literal[1] = FORMAT
    name: Label
    version: Label
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    inputs: Annotated[tuple[InputSpec, ...], Field(min_length=1)]
    tensors: Annotated[tuple[TensorSpec, ...], Field(min_length=1)]
    output: OutputSpec
    golden: GoldenSample
    metrics: Mapping[str, FiniteFloat] = Field(default_factory=dict[str, float])
    lineage: Lineage = Lineage()
    baseline: Baseline = Field(default_factory=dict[str, ColumnBaseline])

    def columns_of(self, tensor: TensorSpec) -> tuple[InputSpec, ...]:
        """Return the inputs that feed ``tensor``, in order."""
        return tuple(column for column in self.inputs if column.feeds == tensor.name)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        problems = [*_duplicates(self.inputs), *_duplicates(self.tensors), *_misfed(self), *_unlike(self)]
        if problems:
            raise ValueError("; ".join(problems))
        return self


def _duplicates(specs: Sequence[InputSpec | TensorSpec]) -> Iterator[str]:
    for name, times in Counter(spec.name for spec in specs).items():
        if times > 1:
            yield f"{name!r} is declared {times} times"


def _misfed(manifest: Manifest) -> Iterator[str]:
    """Say which inputs and tensors do not belong together."""
    tensors = {tensor.name: tensor for tensor in manifest.tensors}
    for column in manifest.inputs:
        if (tensor := tensors.get(column.feeds)) is None:
            yield f"input {column.name!r} feeds tensor {column.feeds!r}, which is not declared"
        elif tensor.dtype not in _CARRIERS[column.type]:
            yield f"input {column.name!r} is a {column.type}, which tensor {tensor.name!r} of {tensor.dtype} can't take"
        elif column.missing == "nan" and tensor.dtype not in _FLOATS:
            yield f'input {column.name!r}: missing="nan" needs a tensor of floats, {tensor.name!r} is {tensor.dtype}'
    for tensor in manifest.tensors:
        fed = len(manifest.columns_of(tensor))
        if fed == 0 or (fed > 1 and tensor.layout != "matrix"):
            yield f"tensor {tensor.name!r} is a {tensor.layout} and is fed by {fed} inputs"


def _unlike(manifest: Manifest) -> Iterator[str]:
    """Say where the golden sample has other columns than the signature."""
    golden = manifest.golden
    if len(golden.rows) != len(golden.expected):
        yield f"the golden sample has {len(golden.rows)} rows and {len(golden.expected)} answers"
    yield from _differing("golden row", golden.rows, {column.name for column in manifest.inputs})
    yield from _differing("golden answer", golden.expected, set(manifest.output.fields))


def _differing(what: str, rows: Sequence[Mapping[str, Any]], names: set[str]) -> Iterator[str]:
    for index, row in enumerate(rows):
        if wrong := names.symmetric_difference(row):
            yield f"{what} {index} differs from the signature in {sorted(wrong)}"
            return
