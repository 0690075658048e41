"""Commands that an app declares for itself."""

from __future__ import annotations

from collections.abc import AsyncIterator, Generator, Sequence
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamserve import App
from streamserve.cli import main
from streamserve.errors import PlanError
from streamserve.kafka import sending
from streamserve.records import Coordinates, Emission
from streamserve.settings import Settings

from .apps import SHOP, module

COMMANDS = (
    SHOP
    + """

@app.command()
async def forget_user(user: str, *, pages: int = 1, dry_run: bool = False) -> None:
    "Send what makes everybody forget a user."
    for page in range(pages):
        if not dry_run:
            await clicks.send(Click(user=user, page=str(page)), headers={"by": b"hand"})
    print(f"forgot {user}")
    if user == "nobody":
        raise SystemExit(3)


@app.command(name="add")
def plus(first: int, second: int) -> None:
    print(first + second)
"""
)


@pytest.fixture
def app(tmp_path: Path) -> Generator[str]:
    with module(tmp_path, "shop_with_commands", COMMANDS) as name:
        yield f"{name}:app"


@pytest.fixture
def sent(monkeypatch: pytest.MonkeyPatch) -> list[Emission]:
    """What commands hand to Kafka's client."""
    written: list[Emission] = []

    def keep(settings: Settings, emissions: Sequence[Emission]) -> list[Coordinates]:
        assert settings.bootstrap_servers == "kafka:9092"
        written.extend(emissions)
        return []

    monkeypatch.setattr(sending, "send_emissions", keep)
    return written


def test_arguments_and_options_are_those_of_the_function(app: str) -> None:
    result = CliRunner().invoke(main, ["call", app, "add", "2", "3"])
    assert (result.stdout, result.exit_code) == ("5\n", 0)


def test_what_a_command_sends_is_written_in_order_once_it_has_ended(app: str, sent: list[Emission]) -> None:
    arguments = ["call", "--brokers", "kafka:9092", app, "forget-user", "ann", "--pages", "2"]
    result = CliRunner().invoke(main, arguments)
    assert (result.stdout, result.exit_code) == ("forgot ann\n", 0)
    assert [(each.topic, each.key, each.value) for each in sent] == [
        ("clicks", b"ann", b'{"user":"ann","page":"0"}'),
        ("clicks", b"ann", b'{"user":"ann","page":"1"}'),
    ]
    assert sent[0].headers == (("by", b"hand"),)


def test_a_command_that_fails_writes_nothing_and_keeps_its_exit_code(app: str, sent: list[Emission]) -> None:
    result = CliRunner().invoke(main, ["call", "--brokers", "kafka:9092", app, "forget-user", "nobody"])
    assert (result.exit_code, sent) == (3, [])


def test_without_a_command_its_names_are_listed_with_their_help(app: str) -> None:
    result = CliRunner().invoke(main, ["call", app])
    assert result.exit_code == 0
    assert "forget-user" in result.stdout
    assert "makes everybody forget" in result.stdout
    assert "--dry-run" in CliRunner().invoke(main, ["call", app, "forget-user", "--help"]).stdout


@pytest.mark.parametrize("arguments", [["remember"], ["add", "2"], ["add", "two", "3"]])
def test_a_wrong_command_or_argument_is_wrong_usage(app: str, arguments: list[str]) -> None:
    assert CliRunner().invoke(main, ["call", app, *arguments]).exit_code == 2


def test_an_app_without_commands_says_how_to_declare_one(shop: str) -> None:
    result = CliRunner().invoke(main, ["call", shop])
    assert result.exit_code == 2
    assert "@app.command()" in result.stderr


def test_a_command_that_yields_is_refused_since_nobody_would_take_it() -> None:
    async def command() -> AsyncIterator[int]:
        yield 1

    with pytest.raises(PlanError, match=r"command 'command' must not yield.*topic\.send"):
        App("yielding").command()(command)


def test_two_commands_of_one_name_are_refused() -> None:
    app = App("twice")

    def command() -> None: ...

    app.command(name="run")(command)
    with pytest.raises(PlanError, match="declared twice"):
        app.command(name="run")(command)
