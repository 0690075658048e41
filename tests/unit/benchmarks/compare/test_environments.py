from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from tests.benchmarks.compare import environments, maven
from tests.benchmarks.compare.environments import Unavailable, find_python, pinned_version
from tests.benchmarks.compare.maven import pom_version, wrong_jars

HERE = Path(environments.__file__).parent
PINS = sorted((HERE / "pins").glob("*.txt"))


@pytest.mark.parametrize("pins", PINS, ids=lambda pins: pins.stem)
def test_every_package_of_an_environment_is_pinned_with_hashes(pins: Path) -> None:
    lines = [line for line in pins.read_text(encoding="utf-8").splitlines() if not line.startswith((" ", "#"))]
    assert lines
    assert all("==" in line and line.endswith("\\") for line in lines)


def test_every_environment_has_a_program() -> None:
    assert {pins.stem for pins in PINS} == {
        file.stem.removesuffix("_score") for file in (HERE / "programs").glob("*_score.py")
    }


def test_all_engines_score_with_the_same_runtime() -> None:
    assert len({pinned_version(pins, "onnxruntime") for pins in PINS}) == 1


def test_a_version_is_that_of_the_pin() -> None:
    assert pinned_version(HERE / "pins" / "faust.txt", "faust-streaming") == "0.15.3"
    assert pom_version(HERE / "kafka_streams" / "pom.xml", "kafka-streams") == "4.3.1"
    with pytest.raises(ValueError, match="does not pin nothing"):
        pinned_version(HERE / "pins" / "faust.txt", "nothing")


def test_this_python_is_found_by_its_version() -> None:
    version = ".".join(map(str, sys.version_info[:2]))
    assert find_python(version).name == f"python{version}"


def test_a_python_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("PYENV_ROOT", str(tmp_path))
    with pytest.raises(Unavailable, match=r"needs Python 3\.13"):
        find_python("3.13")


def test_without_maven_the_engine_is_left_out_with_a_reason(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def nowhere(command: str) -> None:
        del command

    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(maven.shutil, "which", nowhere)
    monkeypatch.setattr(maven, "_java", lambda: Path("java"))
    with pytest.raises(Unavailable, match="needs Maven"):
        maven.build(HERE / "kafka_streams")


def test_jars_are_held_against_their_checksums(tmp_path: Path) -> None:
    for name in ("right.jar", "changed.jar", "more.jar"):
        (tmp_path / name).write_bytes(name.encode())
    sums = {name: hashlib.sha256(name.encode()).hexdigest() for name in ("right.jar", "missing.jar")}
    sums["changed.jar"] = "0" * 64
    expected = tmp_path / "jars.sha256"
    expected.write_text("".join(f"{value}  {name}\n" for name, value in sums.items()))
    assert wrong_jars(tmp_path, expected) == ["changed.jar", "missing.jar", "more.jar"]
