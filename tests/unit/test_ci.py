from __future__ import annotations

from pathlib import Path

from tests.conftest import TOGETHER

ROOT = Path(__file__).parents[2]


def test_ci_runs_the_readme_s_test_command() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    [command] = [line for line in lines if line.startswith("python3 -m venv") and line.endswith("-m tests")]
    expected = [part.replace("python3", '"$python"', 1) for part in command.split(" && ")]
    script = [line.removesuffix(' "$@"') for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert script[-len(expected) :] == expected


def test_tests_that_need_kafka_are_where_ci_looks_for_them() -> None:
    """Elsewhere they would be skipped by one step and not collected by the other."""
    marked = {path for path in (ROOT / "tests").rglob("test_*.py") if "mark.broker" in path.read_text()}
    assert {path for path in marked if path.parent.name != "integration"} == {Path(__file__)}


def test_tests_that_one_process_is_to_run_are_there() -> None:
    assert [path for path in TOGETHER if not (ROOT / path).exists()] == []
