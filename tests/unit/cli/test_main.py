"""What holds for every command: help, examples, exit codes, quick answers."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main
from typer.testing import CliRunner

from streamserve.cli import main
from streamserve.errors import StreamserveError

HEAVY = ("confluent_kafka", "bytewax", "feast", "river", "onnxruntime", "pandas", "sklearn")


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command with its path, groups left out."""
    for name, command in getattr(group, "commands", {}).items():
        yield from commands(command, (*path, name))
        if not hasattr(command, "commands"):
            yield (*path, name), command


ALL = [path for path, _ in commands(typer.main.get_command(main))]


def test_the_commands_of_the_design_are_there() -> None:
    named = {("run",), ("check",), ("graph",), ("topics", "create"), ("lag",), ("send",), ("broker", "start")}
    assert named <= set(ALL)


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_command_has_help_with_an_example_of_itself(path: tuple[str, ...]) -> None:
    result = CliRunner().invoke(main, [*path, "--help"])
    assert result.exit_code == 0
    assert f"Example: streamserve {' '.join(path)}" in result.stdout


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_every_parameter_is_explained(path: tuple[str, ...]) -> None:
    command = dict(commands(typer.main.get_command(main)))[path]
    assert [parameter.name for parameter in command.params if not parameter.help] == []


@pytest.mark.parametrize("path", ALL, ids=" ".join)
def test_an_unknown_option_is_exit_code_2(path: tuple[str, ...]) -> None:
    assert CliRunner().invoke(main, [*path, "--no-such-option"]).exit_code == 2


@pytest.mark.parametrize("arguments", [["nonsense"], ["topics", "nonsense"], ["graph"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, arguments).exit_code == 2


def test_version_is_told() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.stdout.split()[0]) == (0, "streamserve")


def test_an_error_of_ours_is_told_without_a_traceback(monkeypatch: pytest.MonkeyPatch, shop: str) -> None:
    def refuse(*_: object) -> None:
        raise StreamserveError("topic [x] is full: empty it")

    monkeypatch.setattr("streamserve.dataflow.render.as_text", refuse)
    result = CliRunner().invoke(main, ["graph", shop])
    assert (result.exit_code, result.stdout, result.stderr) == (1, "", "Error: topic [x] is full: empty it\n")


def test_what_an_error_advises_names_the_app(monkeypatch: pytest.MonkeyPatch, shop: str) -> None:
    def refuse(*_: object) -> None:
        raise StreamserveError("no topic: 'streamserve topics create MODULE:APP' creates it")

    monkeypatch.setattr("streamserve.dataflow.render.as_text", refuse)
    result = CliRunner().invoke(main, ["graph", shop])
    assert result.stderr == f"Error: no topic: 'streamserve topics create {shop}' creates it\n"


def test_help_imports_nothing_heavy() -> None:
    code = f"import sys, streamserve.cli; print(sorted(set(sys.modules) & set({HEAVY!r})))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout == "[]\n"


def test_the_package_runs_as_a_module() -> None:
    found = subprocess.run(
        [sys.executable, "-m", "streamserve", "--version"], capture_output=True, text=True, check=True
    )
    assert found.stdout.startswith("streamserve ")
