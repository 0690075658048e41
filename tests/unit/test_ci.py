from __future__ import annotations

from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_ci_runs_the_readme_s_test_command() -> None:
    lines = (ROOT / "README.md").read_text().splitlines()
    [command] = [line for line in lines if line.startswith("python3 -m venv") and line.endswith("-m tests")]
    expected = [part.replace("python3", '"$python"', 1) for part in command.split(" && ")]
    script = [line.removesuffix(' "$@"') for line in (ROOT / ".ci" / "run").read_text().splitlines()]
    assert script[-len(expected) :] == expected
