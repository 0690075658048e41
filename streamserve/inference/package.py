"""A model package: a folder ``<registry>/<name>/<version>/`` with ``model.onnx`` and ``manifest.json``.

A package is written once, whole or not at all, and never changed. Its ONNX bytes are read once; the bytes whose hash
was checked are the bytes that are loaded.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError

from streamserve.baseline import Baseline
from streamserve.errors import OutageError, PackageError
from streamserve.inference.files import write_durably
from streamserve.inference.manifest import FORMAT, GoldenSample, InputSpec, Lineage, Manifest, OutputSpec, TensorSpec

__all__ = ["MANIFEST_FILE", "MODEL_FILE", "ModelPackage", "load_package", "write_package"]

MODEL_FILE = "model.onnx"
MANIFEST_FILE = "manifest.json"


@dataclass(frozen=True, slots=True)
class ModelPackage:
    """A package in memory: ``onnx`` are the bytes whose hash is ``manifest.sha256``."""

    path: Path
    manifest: Manifest
    onnx: bytes = field(repr=False)


def load_package(path: str | Path) -> ModelPackage:
    """Read the package in folder ``path`` and check its hash on the bytes that are returned.

    Raises:
        PackageError: a file is missing, the manifest is not what this version reads, or the bytes are not those that
            the manifest pins.
        OutageError: the folder's storage does not answer.
    """
    folder = Path(path)
    manifest = _parse_manifest(_read(folder / MANIFEST_FILE), folder / MANIFEST_FILE)
    if (folder.parent.name, folder.name) != (manifest.name, manifest.version):
        raise PackageError(
            f"{folder}: the manifest says model {manifest.name!r} version {manifest.version!r}; "
            "a package's folder is <registry>/<name>/<version>, so rename the folder or write the package again"
        )
    onnx = _read(folder / MODEL_FILE)
    _check_hash(onnx, manifest.sha256, folder / MODEL_FILE)
    return ModelPackage(folder, manifest, onnx)


def write_package(
    registry: str | Path,
    *,
    name: str,
    version: str,
    onnx: bytes,
    inputs: Sequence[InputSpec],
    tensors: Sequence[TensorSpec],
    output: OutputSpec,
    golden: GoldenSample,
    metrics: Mapping[str, float] | None = None,
    lineage: Lineage | None = None,
    baseline: Baseline | None = None,
) -> Path:
    """Write a new version into ``registry`` and return its folder.

    The folder appears complete or not at all, even if the process dies. The model is not tried out here:
    ``load_runner(load_package(folder))`` does that.

    Raises:
        PackageError: the parts do not fit together, or the version exists (versions never change).
    """
    try:
        manifest = Manifest(
            name=name,
            version=version,
            sha256=hashlib.sha256(onnx).hexdigest(),
            inputs=tuple(inputs),
            tensors=tuple(tensors),
            output=output,
            golden=golden,
            metrics=metrics or {},
            lineage=lineage or Lineage(),
            baseline=baseline or {},
        )
    except ValidationError as error:
        raise PackageError(f"model {name!r} version {version!r}: {_explain(error)}") from error
    folder = Path(registry) / name / version
    _publish(folder, {MODEL_FILE: onnx, MANIFEST_FILE: manifest.model_dump_json(indent=2).encode() + b"\n"})
    return folder


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError, PermissionError) as error:
        raise PackageError(
            f"{path}: {error.strerror}; a model package is a folder with {MODEL_FILE} and {MANIFEST_FILE}"
        ) from error
    except OSError as error:
        raise OutageError(f"{path}: {error.strerror}; is the registry's storage there?") from error


def _parse_manifest(text: bytes, path: Path) -> Manifest:
    try:
        document: Any = json.loads(text)
    except ValueError as error:
        raise PackageError(f"{path}: not JSON ({type(error).__name__}); write the package again") from error
    found = cast("dict[str, Any]", document).get("format") if isinstance(document, dict) else None
    if found != FORMAT:
        raise PackageError(
            f"{path}: format {found!r}, and this streamserve reads format {FORMAT}; "
            "update streamserve or write the package again"
        )
    try:
        return Manifest.model_validate_json(text)
    except ValidationError as error:
        raise PackageError(f"{path}: {_explain(error)}") from error


def _explain(error: ValidationError) -> str:
    """Return the faults as ``place: rule``, without the values found there."""
    return "; ".join(
        f"{'.'.join(map(str, fault['loc'])) or 'manifest'}: {fault['msg']}"
        for fault in error.errors(include_url=False, include_context=False, include_input=False)
    )


def _check_hash(onnx: bytes, expected: str, path: Path) -> None:
    actual = hashlib.sha256(onnx).hexdigest()
    if actual != expected:
        raise PackageError(
            f"{path}: sha256 is {actual}, and the manifest pins {expected}; the file was changed or cut short: "
            "restore it from where it was written, or publish the new model as a new version"
        )


def _publish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write ``files`` beside ``folder``, make them durable, then rename: no reader sees a part of a package."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    if folder.exists():
        raise _exists(folder)
    with tempfile.TemporaryDirectory(prefix=".draft-", dir=folder.parent) as drafts:
        draft = Path(drafts) / folder.name
        draft.mkdir()
        for name, content in files.items():
            write_durably(draft / name, content)
        try:
            draft.rename(folder)
        except OSError as error:  # someone else published it meanwhile: a rename onto a filled folder fails
            raise _exists(folder) from error


def _exists(folder: Path) -> PackageError:
    return PackageError(f"{folder} exists, and a version never changes: choose another version")
