"""The port of a loaded model: columns in, typed answers out, rows at fault named one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from streamserve.errors import ModelRowError


@dataclass(slots=True)
class Scores:
    """The answers for a batch of rows.

    ``columns`` has one list of Python values per output field (``probability``, ``label`` and so on, by the manifest),
    each as long as the batch. ``errors`` names the rows that the model refused; their column values mean nothing.
    """

    columns: Mapping[str, Sequence[Any]]
    errors: Mapping[int, ModelRowError]


class Runner(Protocol):
    """One loaded version of a model."""

    name: str
    version: str
    sha256: str
    inputs: Mapping[str, type]
    outputs: Mapping[str, Any]
    batch_size: int

    def predict(self, columns: Mapping[str, Sequence[Any]], size: int) -> Scores:
        """Score ``size`` rows; ``columns`` has a list or NumPy array for at least every name in ``inputs``.

        Missing values are ``None`` (or NaN in a float array). A failing run is halved until only the rows at fault
        are left out.
        """
        ...


class TakesEverything:
    """Base of runners that are given every field of every row by name, not only those that ``inputs`` tell of."""
