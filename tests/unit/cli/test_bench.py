from __future__ import annotations

import subprocess
import sys
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


def test_it_becomes_the_suite_with_the_same_options(tmp_path: Path) -> None:
    suite = tmp_path / "tests" / "benchmarks"
    suite.mkdir(parents=True)
    for name in ("../__init__.py", "__init__.py", "suite.py"):
        (suite / name).touch()
    (suite / "__main__.py").write_text("import sys; print(*sys.argv[1:]); sys.exit(7)")
    program = (
        "from pathlib import Path; from streamserve.cli import bench;"
        f"bench._CHECKOUT = Path({str(tmp_path)!r});"
        "bench.bench(events=200_000, rounds=1, brokers='kafka:9092', as_json=True, plot=Path('a.svg'))"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
    picture = tmp_path / "a.svg"
    assert ended.stdout == f"suite --events 200000 --rounds 1 --brokers kafka:9092 --json --plot {picture}\n"
    assert ended.returncode == 7
