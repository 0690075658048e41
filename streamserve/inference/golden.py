"""The self-check of a loaded model: known rows in, known answers out."""

from __future__ import annotations

import math
from typing import Any

from pydantic import JsonValue

from streamserve.errors import PackageError
from streamserve.inference.manifest import GoldenSample, Manifest
from streamserve.inference.runner import Runner

__all__ = ["golden_columns", "verify"]


def golden_columns(manifest: Manifest) -> dict[str, list[Any]]:
    """Return the rows of the golden sample as columns."""
    return {column.name: [row[column.name] for row in manifest.golden.rows] for column in manifest.inputs}


def verify(runner: Runner, manifest: Manifest) -> None:
    """Score the golden sample with ``runner`` and compare with the answers in ``manifest``.

    Raises:
        PackageError: an answer is not the one expected, within the sample's tolerance.
    """
    golden = manifest.golden
    scores = runner.predict(golden_columns(manifest), len(golden.rows))
    for row, expected in enumerate(golden.expected):
        if row in scores.errors:
            raise _failed(manifest, row, str(scores.errors[row]))
        for name, value in expected.items():
            if not _agrees(scores.columns[name][row], value, golden.tolerance):
                raise _failed(manifest, row, _difference(name, scores.columns[name][row], value, golden))


def _failed(manifest: Manifest, row: int, why: str) -> PackageError:
    return PackageError(
        f"model {manifest.name!r} version {manifest.version!r} fails its golden sample at row {row}: {why}; "
        "it does not answer here as where it was trained: check the conversion to ONNX and the sample"
    )


def _difference(name: str, found: Any, expected: Any, golden: GoldenSample) -> str:
    return f"{name} is {found!r}, expected {expected!r} within {golden.tolerance}"


def _agrees(found: Any, expected: JsonValue, tolerance: float) -> bool:
    match expected:
        case dict():
            return expected.keys() == found.keys() and all(
                _agrees(found[key], value, tolerance) for key, value in expected.items()
            )
        case list():
            return len(found) == len(expected) and all(
                _agrees(part, value, tolerance) for part, value in zip(found, expected, strict=True)
            )
        case int() | float() if isinstance(found, int | float):
            return math.isclose(found, expected, rel_tol=tolerance, abs_tol=tolerance)
        case _:
            return found == expected
