"""What is said of the machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from streamserve.ops.doctor import machine


@pytest.mark.parametrize(
    ("version", "level"), [((3, 10), "fault"), ((3, 11), "fine"), ((3, 12), "fine"), ((3, 13), "fault")]
)
def test_python_is_one_that_the_libraries_are_built_for(version: tuple[int, int], level: str) -> None:
    assert [finding.level for finding in machine.python(version)] == [level]


def test_a_library_that_is_missing_is_a_fault_that_names_it() -> None:
    [lacking, there] = machine.libraries(("pytest", "no-such-library"))
    assert (lacking.level, there.level) == ("fault", "fine")
    assert "no-such-library" in lacking.remedy
    assert there.what == f"pytest {pytest.__version__}"


def test_a_machine_without_java_is_warned_of_since_only_the_local_broker_needs_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    monkeypatch.setattr("streamserve.broker.java.java_version", _no_version)
    [finding] = machine.java()
    assert (finding.level, finding.name) == ("warning", "java")


def _no_version(_: Path) -> None:
    return None
