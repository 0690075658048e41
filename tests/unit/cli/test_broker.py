"""The commands' words and exit codes, without a broker."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamserve.cli import main


@pytest.mark.parametrize("arguments", [["start", "--port", "many"], ["start", "--port", "70000"], ["restart"]])
def test_wrong_usage_is_exit_code_2(arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["broker", *arguments]).exit_code == 2


def test_status_of_nothing_is_exit_code_1(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["broker", "status", "--data-dir", str(tmp_path), "--json"])
    assert (result.exit_code, json.loads(result.stdout)) == (1, {"state": "not running"})


def test_stop_of_nothing_is_fine(tmp_path: Path) -> None:
    result = CliRunner().invoke(main, ["broker", "stop", "--data-dir", str(tmp_path)])
    assert (result.exit_code, result.stdout) == (0, "Kafka not running; start it with: streamserve broker start\n")


def test_failure_is_told_on_standard_error_with_exit_code_1(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        result = CliRunner().invoke(
            main, ["broker", "start", "--data-dir", str(tmp_path), "--port", str(port), "--json"]
        )
    assert (result.exit_code, result.stdout) == (1, "")
    assert f"Error: port {port} is taken" in result.stderr
