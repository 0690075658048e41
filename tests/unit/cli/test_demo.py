"""``streamserve demo``, as far as it goes without a broker."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec

import pytest
import typer
from typer.testing import CliRunner

from streamserve.cli import demo
from streamserve.errors import ConfigurationError


def command() -> typer.Typer:
    main = typer.Typer()
    demo.register(main)
    return main


def test_outside_a_checkout_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(_name: str) -> ModuleSpec | None:
        return None

    monkeypatch.setattr(demo, "find_spec", find_nothing)
    ended = CliRunner().invoke(command(), [])
    assert isinstance(ended.exception, ConfigurationError)
    assert "clone the repository" in str(ended.exception)


def test_a_broker_of_its_own_needs_no_recreating() -> None:
    ended = CliRunner().invoke(command(), ["--recreate"])
    assert ended.exit_code == 2


@pytest.mark.parametrize("option", [["--events", "0"], ["--workers", "0"], ["--chaos", "-1"], ["--speed", "0"]])
def test_numbers_that_make_no_sense_are_wrong_usage(option: list[str]) -> None:
    assert CliRunner().invoke(command(), option).exit_code == 2


def test_asking_for_help_loads_nothing_heavy() -> None:
    before = "topologies.flights.demo" in sys.modules
    assert CliRunner().invoke(command(), ["--help"]).exit_code == 0
    assert ("topologies.flights.demo" in sys.modules) == before


def test_pictures_go_to_a_folder_not_to_a_file() -> None:
    assert CliRunner().invoke(command(), ["--plots", __file__]).exit_code == 2
