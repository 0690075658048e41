from __future__ import annotations

import json

import pytest
import typer
from typer.testing import CliRunner, Result

from streamserve.cli import size


@pytest.fixture
def command() -> typer.Typer:
    main = typer.Typer()
    size.register(main)
    return main


def sized(command: typer.Typer, *options: str) -> Result:
    return CliRunner().invoke(command, [*options], env={"COLUMNS": "200"})


def test_it_says_how_many_workers_a_load_takes(command: typer.Typer) -> None:
    result = sized(command, "--records", "200000", "--partitions", "64")
    assert result.exit_code == 0
    assert "workers" in result.stdout
    assert "requests/s" in result.stdout


def test_json_has_the_deployment_and_what_it_takes(command: typer.Typer) -> None:
    result = sized(command, "--records", "1000", "--partitions", "4", "--commit-interval", "1s", "--json")
    told = json.loads(result.stdout)
    assert told["deployment"]["commit_interval_ms"] == 1000
    assert told["sizing"]["workers"] == 1
    assert told["sizing"]["keeps_up"] is True


def test_a_sweep_goes_as_far_as_there_are_partitions(command: typer.Typer) -> None:
    result = sized(command, "--records", "1000", "--partitions", "100", "--sweep", "--json")
    assert [row["workers"] for row in json.loads(result.stdout)] == [1, 2, 4, 8, 16, 32, 64]
    assert "transactions/s" in sized(command, "--records", "1000", "--partitions", "100", "--sweep").stdout


def test_too_few_workers_are_shown_with_what_to_do(command: typer.Typer) -> None:
    result = sized(command, "--records", "1000000", "--partitions", "64", "--workers", "1")
    assert result.exit_code == 0
    assert "leave out --workers" in result.stderr


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--records", "9000000", "--partitions", "2"], "Take at least"),
        (["--records", "1000", "--partitions", "2", "--workers", "3"], "cannot share 2 partitions"),
        (["--records", "1000", "--partitions", "2", "--level", "spell"], "score, agent"),
        (["--records", "1000", "--partitions", "2", "--commit-interval", "soon"], "soon"),
    ],
)
def test_what_cannot_be_is_wrong_usage_that_says_what_can(command: typer.Typer, options: list[str], told: str) -> None:
    result = sized(command, *options)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.replace("│", " ").split())
