from __future__ import annotations

import hashlib
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from streamserve.errors import OutageError, PackageError
from streamserve.inference.baseline import build_baseline
from streamserve.inference.manifest import GoldenSample, InputSpec, Lineage, OutputColumn, RegressionOutput, TensorSpec
from streamserve.inference.package import ModelPackage, load_package, write_package

ONNX = b"stands for a model"


def publish(registry: Path, *, version: str = "1", name: str = "delay", **changes: Any) -> Path:
    parts: dict[str, Any] = {
        "onnx": ONNX,
        "inputs": [InputSpec(name="x", type="float", missing="nan")],
        "tensors": [TensorSpec(name="x", dtype="float32")],
        "output": RegressionOutput(value=OutputColumn(tensor="y")),
        "golden": GoldenSample(rows=({"x": 1.5},), expected=({"value": 3.0},)),
    }
    return write_package(registry, name=name, version=version, **{**parts, **changes})


def edit(folder: Path, **changes: Any) -> None:
    path = folder / "manifest.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_a_package_reads_back_as_it_was_written(tmp_path: Path) -> None:
    lineage = Lineage(code="4f2c", data="2013-01..02", created_at=datetime(2026, 1, 2, tzinfo=UTC), notes={"seed": "0"})
    baseline = build_baseline({"x": [0.1, 0.2, None], "carrier": ["AA", "UA", "AA"]})
    folder = publish(tmp_path, metrics={"auc": 0.714}, lineage=lineage, baseline=baseline)
    package = load_package(folder)
    assert folder == tmp_path / "delay" / "1"
    assert package.onnx == ONNX
    assert package.manifest.sha256 == hashlib.sha256(ONNX).hexdigest()
    assert package.manifest.metrics == {"auc": 0.714}
    assert package.manifest.lineage == lineage
    assert package.manifest.baseline == baseline
    assert package.manifest.inputs[0] == InputSpec(name="x", type="float", missing="nan")


def test_a_version_is_never_overwritten(tmp_path: Path) -> None:
    publish(tmp_path)
    with pytest.raises(PackageError, match="exists, and a version never changes"):
        publish(tmp_path, onnx=b"another")
    assert load_package(tmp_path / "delay" / "1").onnx == ONNX


def test_of_several_writers_of_one_version_one_wins(tmp_path: Path) -> None:
    def attempt(number: int) -> int | None:
        try:
            publish(tmp_path, onnx=bytes([number]))
        except PackageError:
            return None
        return number

    with ThreadPoolExecutor(8) as pool:
        winners = [number for number in pool.map(attempt, range(8)) if number is not None]
    assert [load_package(tmp_path / "delay" / "1").onnx] == [bytes(winners)]
    assert [path.name for path in (tmp_path / "delay").iterdir()] == ["1"]


def test_changed_bytes_are_refused_with_both_hashes(tmp_path: Path) -> None:
    folder = publish(tmp_path)
    (folder / "model.onnx").write_bytes(b"tampered")
    expected, actual = (hashlib.sha256(content).hexdigest() for content in (ONNX, b"tampered"))
    with pytest.raises(PackageError, match=rf"sha256 is {actual}, and the manifest pins {expected}.*restore"):
        load_package(folder)


def test_the_bytes_that_were_checked_are_the_bytes_that_are_kept(tmp_path: Path) -> None:
    folder = publish(tmp_path)
    package = load_package(folder)
    (folder / "model.onnx").write_bytes(b"tampered")
    assert isinstance(package, ModelPackage)
    assert package.onnx == ONNX
    assert "stands for" not in repr(package)


@pytest.mark.parametrize("missing", ["model.onnx", "manifest.json"])
def test_a_missing_file_is_named(tmp_path: Path, missing: str) -> None:
    folder = publish(tmp_path)
    (folder / missing).unlink()
    with pytest.raises(PackageError, match=rf"{missing}: No such file"):
        load_package(folder)


def test_storage_that_fails_is_an_outage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(_: Path) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "read_bytes", fail)
    with pytest.raises(OutageError, match="is the registry's storage there"):
        load_package(tmp_path)


def test_a_folder_with_another_name_than_the_manifests_is_refused(tmp_path: Path) -> None:
    moved = publish(tmp_path).rename(tmp_path / "delay" / "2")
    with pytest.raises(PackageError, match="says model 'delay' version '1'"):
        load_package(moved)


@pytest.mark.parametrize("found", [2, "1", None])
def test_another_format_is_refused_with_what_to_do(tmp_path: Path, found: object) -> None:
    folder = publish(tmp_path)
    edit(folder, format=found)
    with pytest.raises(PackageError, match=r"format .*reads format 1; update streamserve"):
        load_package(folder)


@pytest.mark.parametrize("text", ["", "[]", "{", "\x00"])
def test_a_manifest_that_is_not_a_json_object_is_refused(tmp_path: Path, text: str) -> None:
    folder = publish(tmp_path)
    (folder / "manifest.json").write_text(text)
    with pytest.raises(PackageError, match=r"manifest\.json: (not JSON|format None)"):
        load_package(folder)


def test_an_unknown_field_is_refused_by_name(tmp_path: Path) -> None:
    folder = publish(tmp_path)
    edit(folder, colour="red")
    with pytest.raises(PackageError, match="colour: Extra inputs are not permitted"):
        load_package(folder)


@pytest.mark.parametrize("name", ["", "../delay", "a/b", ".hidden", "a b"])
def test_a_name_that_is_not_a_plain_folder_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(PackageError, match="name: String should match"):
        publish(tmp_path, name=name)
    assert not list(tmp_path.iterdir())


def test_parts_that_do_not_fit_are_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(PackageError, match="tensor 'z', which is not declared"):
        publish(tmp_path, inputs=[InputSpec(name="x", type="float", tensor="z")])
    assert not list(tmp_path.iterdir())
