"""What a shell completes, without importing anything of the user's."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
import typer.main
from typer.testing import CliRunner

from streamserve.cli import main
from streamserve.cli.completion import complete_apps, complete_readable, complete_tables, complete_topics

MODULE = """
raise RuntimeError("completion must not run this")
import streamserve
from streamserve import App
app = App("shop")
other = streamserve.App("other")
clicks = app.topic("clicks", str)
visits = app.topic("visits", str)
name = "computed"
app.topic(name, str)
seen = app.table("seen", int)
"""


@pytest.fixture(autouse=True)
def _in_a_project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:  # pyright: ignore[reportUnusedFunction]
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop.py").write_text(MODULE)
    (tmp_path / "broken.py").write_text("app = App(")
    for package in ("fraud", "tests", ".venv"):
        (tmp_path / package).mkdir()
        (tmp_path / package / "app.py").write_text("app = App('x')")
    (tmp_path / "fraud" / "__init__.py").write_text("whole = App('y')")


def context(app: str | None) -> typer.Context:
    made = typer.Context(typer.main.get_command(main))
    made.params["name"] = app
    return made


def test_apps_of_modules_and_packages_are_completed() -> None:
    assert complete_apps("") == ["fraud.app:app", "fraud:whole", "shop:app", "shop:other"]
    assert complete_apps("shop:o") == ["shop:other"]


@pytest.mark.parametrize(("words", "offered"), [("check sh", "shop:other"), ("send shop:app ", "visits")])
def test_a_shell_is_offered_them(words: str, offered: str) -> None:
    asked = {"_STREAMSERVE_COMPLETE": "complete_bash", "COMP_WORDS": f"streamserve {words}"}
    count = {"COMP_CWORD": str(len(words.split(" ")))}
    told = CliRunner().invoke(main, prog_name="streamserve", env={**asked, **count})
    assert offered in told.stdout.splitlines()


def test_topics_and_tables_of_the_app_given_before_are_completed() -> None:
    assert complete_topics(context("shop:app"), "") == ["clicks", "visits"]
    assert complete_topics(context("shop:app"), "v") == ["visits"]
    assert complete_tables(context("shop:app"), "") == ["seen"]
    assert complete_readable(context("shop:app"), "d") == ["dead-letters", "drift"]


@pytest.mark.parametrize("app", [None, "", "broken:app", "nowhere:app"])
def test_without_a_module_to_read_nothing_is_completed(app: str | None) -> None:
    assert complete_topics(context(app), "") == []
