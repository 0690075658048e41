"""``streamserve new``: what it writes works as it is, from a checkout and from a wheel in an empty environment."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamserve.cli import main

pytestmark = pytest.mark.timeout(300)
ROOT = Path(__file__).parents[3]
NAME = "suspicion"
RULES = ("--isolated", "--line-length", "120", "--target-version", "py311")
"""As in a project of the user's own."""


def run(folder: Path, *command: str | Path, **environment: str) -> str:
    """Run ``command`` in ``folder``; return what it said."""
    ended = subprocess.run(
        command, cwd=folder, env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, f"{command}: {ended.stdout}{ended.stderr}"
    return ended.stdout


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which a new topology was made."""
    folder = tmp_path_factory.mktemp("home")
    said = run(folder, sys.executable, "-m", "streamserve", "new", NAME)
    assert f"streamserve run {NAME}.app:app" in said
    return folder


def test_it_is_formatted_and_free_of_lint(project: Path) -> None:
    ruff = Path(sys.executable).parent / "ruff"
    run(project, ruff, "format", *RULES, "--check", NAME)
    run(project, ruff, "check", *RULES, "--select", "E,F,I,B,UP,SIM,RUF,ANN", NAME)


def test_its_training_script_publishes_the_next_version(project: Path) -> None:
    registry = project / NAME / "models" / "fraud"
    run(project, sys.executable, "-W", "ignore", Path(NAME, "train.py"))
    assert sorted(path.name for path in registry.iterdir() if path.is_dir()) == ["1", "2"]
    assert '"2"' in (registry / "aliases.json").read_text()
    assert "is fine" in run(project, sys.executable, "-m", "streamserve", "check", f"{NAME}.app:app")


@pytest.mark.parametrize("name", ["1st", "with-dash", "Upper", "class", "json", "pytest", "umlaut_ä", "../up"])
def test_a_name_that_no_package_may_have_is_wrong_usage(name: str, tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["new", name, "--into", str(tmp_path)])
    assert result.exit_code == 2
    assert list(tmp_path.iterdir()) == []


def test_what_is_there_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    result = CliRunner().invoke(main, ["new", "mine", "--into", str(tmp_path)])
    assert result.exit_code == 2
    assert "nothing was written" in result.stderr


def test_from_a_wheel_in_an_empty_environment_it_passes_check_and_its_own_tests(tmp_path: Path) -> None:
    run(ROOT, sys.executable, "-m", "hatchling", "build", "--target", "wheel", "--directory", str(tmp_path))
    [wheel] = tmp_path.glob("*.whl")
    venv.create(tmp_path / "env", with_pip=True)
    python = tmp_path / "env" / "bin" / "python"
    run(tmp_path, python, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", wheel)
    _lend_dependencies(tmp_path / "env")
    home = tmp_path / "home"
    home.mkdir()
    command = tmp_path / "env" / "bin" / "streamserve"
    run(home, command, "new", NAME)
    where = run(home, python, "-c", "import streamserve; print(streamserve.__file__)")
    assert Path(where.strip()).is_relative_to(tmp_path)
    assert "is fine" in run(home, command, "check", f"{NAME}.app:app")
    assert "3 passed" in run(home, python, "-m", "pytest", "-p", "no:cacheprovider", "-W", "error", NAME)


def _lend_dependencies(environment: Path) -> None:
    """Let ``environment`` see the packages installed here, after its own; an editable install is not among them."""
    [packages] = environment.glob("lib/*/site-packages")
    here = [path for path in sys.path if path.endswith("site-packages")]
    (packages / "lent.pth").write_text("\n".join(here))
