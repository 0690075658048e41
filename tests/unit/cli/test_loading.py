"""From MODULE:APP to an app, and what is said when there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from streamserve.cli import main
from streamserve.cli.loading import load_app, load_settings_of
from streamserve.errors import PlanError

from .apps import module


def test_an_app_is_found_by_module_and_name(shop: str) -> None:
    assert load_app(shop).name == "shop"


def test_the_working_directory_is_searched(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "shop_here.py").write_text("from streamserve import App\nours = App('here')\n")
    assert load_app("shop_here:ours").name == "here"


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("shop", "'shop' is not MODULE:APP: write for example flights:app"),
        ("no_such_module:app", "run this in the folder that holds no_such_module/ or no_such_module.py"),
        ("streamserve.no_such_module:app", "no module 'streamserve.no_such_module': 'streamserve' is found, but"),
        ("bees/hives.py:app", "'bees/hives.py:app' names a file: write bees.hives:app"),
        ("./bees.py", "'./bees.py' names a file: write bees:app"),
        ("shop_of_tests:other", "module 'shop_of_tests' has no 'other'; apps in it: app"),
        ("shop_of_tests:clicks", "has 'clicks', but it is a Topic; apps in it: app"),
    ],
)
@pytest.mark.usefixtures("shop")
def test_a_name_that_leads_to_no_app_is_wrong_usage(name: str, text: str) -> None:
    with pytest.raises(typer.BadParameter) as raised:
        load_app(name)
    assert text in raised.value.message
    assert CliRunner().invoke(main, ["graph", name]).exit_code == 2


def test_who_is_inside_of_the_package_is_told_where_to_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "orchard" / "models").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "orchard" / "models")
    with pytest.raises(typer.BadParameter) as raised:
        load_app("orchard.app:app")
    assert raised.value.message.endswith(f"run this in {tmp_path}")


@pytest.mark.parametrize("text", ["import no_such_package", "1 / 0", "def f(:"])
def test_what_a_module_raises_is_shown_as_it_is(tmp_path: Path, text: str) -> None:
    with module(tmp_path, "broken_of_tests", text) as name:
        result = CliRunner().invoke(main, ["graph", f"{name}:app"])
    assert result.exit_code == 2
    assert str(tmp_path / "broken_of_tests.py") in result.stderr
    assert "loading.py" not in result.stderr


def test_declarations_that_do_not_fit_are_errors_of_ours(tmp_path: Path) -> None:
    text = "from streamserve import App\napp = App('shop')\n@app.agent()\nasync def idle(stream): pass\n"
    with module(tmp_path, "idle_of_tests", text) as name, pytest.raises(PlanError, match="at least one topic"):
        load_app(f"{name}:app")


def test_the_command_line_goes_before_environment_and_code(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSERVE_BOOTSTRAP_SERVERS", "environment:9092")
    assert load_settings_of(load_app(shop)).bootstrap_servers == "environment:9092"
    assert load_settings_of(load_app(shop), bootstrap_servers="given:9092").bootstrap_servers == "given:9092"


def test_kafka_keys_are_added_to_those_of_the_environment(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSERVE_KAFKA", '{"sasl.password": "hunter2", "client.rack": "a"}')
    settings = load_settings_of(load_app(shop), kafka=["client.rack=b"])
    assert {key: value.get_secret_value() for key, value in settings.kafka.items()} == {
        "sasl.password": "hunter2",
        "client.rack": "b",
    }
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize("setting", ["client.rack", "=b"])
def test_a_kafka_key_without_value_is_wrong_usage(shop: str, setting: str) -> None:
    result = CliRunner().invoke(main, ["run", shop, "--set", setting])
    assert result.exit_code == 2
    assert "KEY=VALUE" in result.stderr
