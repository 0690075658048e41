"""What the documentation shows works as printed."""

from __future__ import annotations

import importlib
import re
import sys
import warnings
from collections.abc import Generator
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import pytest
import typer.main
from typer.core import TyperGroup
from typer.testing import CliRunner

from streamserve import App
from streamserve.cli import main
from streamserve.settings import Settings
from tests import readme

FIRST = "Your first app"
USED = {
    FIRST,
    "The API by example",
    "The feature view",
    "The model",
    "Agents",
    "State and time",
    "Two streams, and the truth that comes later",
    "Test without a broker",
}
"""Sections whose Python blocks are run here: a new one needs a test."""
STATEFUL = ("State and time", "Two streams, and the truth that comes later", "Test without a broker")
"""Sections that add to the app, and its test."""


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder after the README's scripts have run in it."""
    folder = tmp_path_factory.mktemp("payments")
    readme.lay_out(folder)
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # skl2onnx's own
        patch.chdir(folder)
        readme.run_scripts(folder)
    return folder


@pytest.fixture
def folder(prepared: Path, monkeypatch: pytest.MonkeyPatch) -> Generator[Path]:
    """The working directory of a reader; its module is imported anew."""
    monkeypatch.chdir(prepared)
    monkeypatch.syspath_prepend(prepared)  # pyright: ignore[reportUnknownMemberType]
    yield prepared
    sys.modules.pop("payments", None)


def test_every_python_block_is_run_by_a_test() -> None:
    shown = [block.heading for document in readme.DOCUMENTS for block in readme.blocks(readme.read(document), "python")]
    assert sorted(set(shown)) == sorted(USED)
    assert sorted(heading for heading in shown if heading != FIRST) == sorted(USED - {FIRST})


@pytest.mark.parametrize(("app", "agent"), [("score", "score_fraud"), ("agent", "predict")])
def test_check_finds_no_fault_with_the_app_its_features_and_its_model(
    folder: Path, app: Literal["score", "agent"], agent: str
) -> None:
    readme.lay_out(folder, app)
    result = CliRunner().invoke(main, ["check", "payments:app"])
    assert result.stdout.startswith("payments:app is fine"), result.output
    assert [planned.name for planned in importlib.import_module("payments").app.plan().agents] == [agent]


def test_the_first_app_is_as_short_as_is_said() -> None:
    [lines] = re.findall(r"(\d+) lines of Python and (\d+) of shell", readme.read("README.md"))
    python = [line for block in readme.under(FIRST, "python") for line in block.splitlines() if line.strip()]
    shell = [command.line for command in readme.story(FIRST)]
    assert tuple(map(int, lines)) == (len(python), len(shell))
    assert len(python) + len(shell) <= 40


@pytest.mark.parametrize("app", ["score", "agent"])
def test_the_stateful_agent_passes_the_test_that_is_shown(folder: Path, app: Literal["score", "agent"]) -> None:
    readme.lay_out(folder, app)
    module = importlib.import_module("payments")
    shown = vars(module)
    for heading in ("Agents", *STATEFUL):
        code = readme.only(heading, "python")
        imports = [line for line in code.splitlines() if line.startswith("from ")]
        exec("\n".join(imports) if heading == "Agents" else code, shown)  # noqa: S102 - the documentation is ours
    shown["test_a_first_payment_is_judged_by_its_amount"]()


def test_the_event_that_is_sent_is_one_of_the_app(folder: Path) -> None:
    sent = [words for words in readme.commands(readme.read("README.md")) if words[0] == "send"]
    [(topic, event)] = [(topic, event) for _, app, topic, event in sent if app == "payments:app"]
    readme.lay_out(folder)
    module = importlib.import_module("payments")
    assert topic == module.payments.name
    assert module.Payment.model_validate_json(event).user in {"ann", "bob"}


@pytest.mark.parametrize(
    "words",
    [words for document in readme.DOCUMENTS for words in readme.commands(readme.read(document))],
    ids=" ".join,
)
def test_every_command_is_there_with_its_options(words: list[str]) -> None:
    name, command = "streamserve", typer.main.get_command(main)
    while isinstance(command, TyperGroup):
        context = command.make_context(name, list(words), resilient_parsing=True)
        _, command, words = command.resolve_command(context, words)
    assert command is not None
    if words:
        command.make_context("command", list(words))


def test_files_folders_and_modules_that_are_named_are_there() -> None:
    for document in readme.DOCUMENTS:
        text = readme.read(document)
        named = [span for span in readme.spans(text) if re.match(r"(tests|topologies|streamserve|schemas)/", span)]
        assert [span for span in named if not (readme.ROOT / span).exists()] == []
        assert [name for name in re.findall(r"python -m ([\w.]+)", text) if not find_spec(name)] == []


def test_links_within_the_checkout_lead_somewhere() -> None:
    for document in readme.DOCUMENTS:
        inner = [target for target in readme.links(readme.read(document)) if "://" not in target]
        assert [target for target in inner if not leads_somewhere(readme.ROOT / document, target)] == []


def leads_somewhere(document: Path, target: str) -> bool:
    """Whether a link of ``document`` leads to a file, and to a heading of it if it names one."""
    path, _, heading = target.partition("#")
    file = document.parent / path if path else document
    if not heading:
        return file.exists()
    return f"#{heading}" in map(readme.anchor, readme.headings(file.read_text(encoding="utf-8")))


def test_the_settings_table_has_names_and_defaults_of_the_settings() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `([^`]+)` \|", readme.read("compose/operations.md"), re.MULTILINE)
    shown = {name: default for name, default in rows if name != "instance"}  # worked out when a worker starts
    assert len(shown) > 5
    assert {name: str(Settings.model_fields[name].default) for name in shown} == shown


def test_decorators_and_calls_of_the_app_are_in_its_interface() -> None:
    text = "".join(map(readme.read, readme.DOCUMENTS))
    ours = re.sub(r"^## Coming from Faust$.*?^## ", "", text, flags=re.MULTILINE | re.DOTALL)
    assert [name for name in re.findall(r"`@?app\.(?!py\b)(\w+)", ours) if not hasattr(App, name)] == []
