from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streamserve.cli import bench
from streamserve.errors import ConfigurationError


@pytest.fixture
def command() -> typer.Typer:
    main = typer.Typer()
    bench.register(main)
    return main


def test_outside_a_checkout_it_says_so(command: typer.Typer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(bench, "_CHECKOUT", tmp_path)
    result = CliRunner().invoke(command)
    assert isinstance(result.exception, ConfigurationError)
    assert "clone the repository" in str(result.exception)


def test_too_few_events_are_wrong_usage(command: typer.Typer) -> None:
    assert CliRunner().invoke(command, ["--events", "1000"]).exit_code == 2


def test_a_run_that_fails_ends_with_exit_code_1(command: typer.Typer, capfd: pytest.CaptureFixture[str]) -> None:
    result = CliRunner().invoke(command, ["--brokers", "127.0.0.1:1", "--rounds", "1"])
    assert result.exit_code == 1
    assert "127.0.0.1:1" in capfd.readouterr().err
