"""The commands that need no broker, and what the others say before they ask one."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from streamserve.cli import main
from streamserve.cli.loading import load_app, load_settings_of
from streamserve.cli.worker import instance_base
from streamserve.cli.workers import child_commands, child_environment

from .apps import SHOP, module

UNREACHABLE = "127.0.0.1:1"


def test_check_of_a_sound_app_is_fine(shop: str) -> None:
    result = CliRunner().invoke(main, ["check", shop])
    assert (result.exit_code, result.stdout.split(";")[0]) == (0, f"{shop} is fine")
    assert json.loads(CliRunner().invoke(main, ["check", shop, "--json"]).stdout) == {"app": shop, "problems": []}


def test_check_tells_each_problem_with_a_remedy(tmp_path: Path) -> None:
    with module(tmp_path, "keyless_of_tests", SHOP.replace('Visit, key="user"', 'Visit, key="visitor"')) as name:
        table = CliRunner().invoke(main, ["check", f"{name}:app"])
        result = CliRunner().invoke(main, ["check", f"{name}:app", "--json"])
    assert (table.exit_code, result.exit_code) == (1, 1)
    assert "what to do" in table.stdout
    [problem] = json.loads(result.stdout)["problems"]
    assert problem["where"] == "topic 'visits'"
    assert "key='visitor' is not a field of Visit; there are user" in problem["what"]
    assert "key=lambda value" in problem["remedy"]


def test_check_shows_what_the_declaration_refuses_in_the_same_way(tmp_path: Path) -> None:
    text = "from streamserve import App\n\napp = App('shop')\n\n@app.agent()\nasync def idle(stream): pass\n"
    with module(tmp_path, "refused_of_tests", text) as name:
        result = CliRunner().invoke(main, ["check", f"{name}:app", "--json"])
    assert result.exit_code == 1
    [problem] = json.loads(result.stdout)["problems"]
    assert "at least one topic" in problem["what"]
    assert problem["remedy"] == "correct line 5 of refused_of_tests.py"


def test_check_finds_two_apps_of_a_module_that_collide(tmp_path: Path) -> None:
    text = SHOP + "\ntwin = App('shop')\nalias = app\n"
    with module(tmp_path, "twins_of_tests", text) as name:
        result = CliRunner().invoke(main, ["check", f"{name}:app", "--json"])
    [problem] = json.loads(result.stdout)["problems"]
    assert problem["where"] == "app 'shop'"
    assert "one consumer group" in problem["what"]


def test_graph_has_three_forms(shop: str) -> None:
    texts = {form: CliRunner().invoke(main, ["graph", shop, "--format", form]).stdout for form in ("text", "mermaid")}
    assert texts["text"].startswith("app shop\n")
    assert texts["mermaid"].startswith("flowchart LR\n")
    data = json.loads(CliRunner().invoke(main, ["graph", shop, "--json"]).stdout)
    assert data == json.loads(CliRunner().invoke(main, ["graph", shop, "-f", "json"]).stdout)
    assert [agent["name"] for agent in data["agents"]] == ["note"]


@pytest.mark.parametrize(
    ("event", "text"),
    [
        ('{"user": "u1"}', "not a valid Click: page: Field required"),
        ("secret-text", "event 1 of 1 for topic 'clicks'"),
        ('{"user": 7, "page": "/"}', "user: Input should be a valid string"),
    ],
)
def test_send_refuses_an_event_that_does_not_fit_without_repeating_it(shop: str, event: str, text: str) -> None:
    result = CliRunner().invoke(main, ["send", shop, "clicks", event, "--brokers", UNREACHABLE])
    assert (result.exit_code, result.stdout) == (1, "")
    assert text in result.stderr
    assert "Nothing was sent" in result.stderr
    assert "secret-text" not in result.stderr


def test_send_counts_the_lines_of_standard_input(shop: str) -> None:
    lines = '{"user": "u1", "page": "/"}\n\n{"user": "u2"}\n'
    result = CliRunner().invoke(main, ["send", shop, "clicks", "--brokers", UNREACHABLE], input=lines)
    assert result.exit_code == 1
    assert "event 2 of 2" in result.stderr


def test_send_knows_the_topics_of_the_app(shop: str) -> None:
    result = CliRunner().invoke(main, ["send", shop, "click", "{}"])
    assert result.exit_code == 2
    assert {"clicks,", "visits"} <= set(result.stderr.split())


@pytest.mark.parametrize("option", [["--commit-interval", "soon"], ["--instance", "a b"], ["--set", "no.such.key=1"]])
def test_run_ends_with_2_where_the_configuration_has_to_change(shop: str, option: list[str]) -> None:
    result = CliRunner().invoke(main, ["run", shop, "--brokers", UNREACHABLE, *option])
    assert (result.exit_code, result.stdout) == (2, "")


def test_children_have_names_and_ports_of_their_own(shop: str) -> None:
    app = load_app(shop)
    settings = load_settings_of(app, http_port=9100)
    commands = child_commands(shop, app.plan(), settings, 2)
    base = instance_base(app.plan(), settings)
    assert base.startswith("shop-")
    assert [command[command.index("--instance") + 1] for command in commands] == [f"{base}-0", f"{base}-1"]
    assert [command[command.index("--http-port") + 1] for command in commands] == ["9100", "9101"]


def test_children_get_the_secrets_of_set_where_no_command_line_shows_them(
    shop: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STREAMSERVE_KAFKA", '{"client.rack": "a", "sasl.password": "old"}')
    app = load_app(shop)
    parent = load_settings_of(app, kafka=["sasl.password=hunter2"])
    assert not any("hunter2" in word for words in child_commands(shop, app.plan(), parent, 2) for word in words)
    environment = child_environment(parent, {"HOME": "/home/shop"})
    assert environment["HOME"] == "/home/shop"
    monkeypatch.setenv("STREAMSERVE_KAFKA", environment["STREAMSERVE_KAFKA"])
    assert load_settings_of(app).kafka == parent.kafka
    assert sorted(parent.kafka) == ["client.rack", "sasl.password"]


def test_children_of_a_parent_without_kafka_settings_inherit_its_environment(shop: str) -> None:
    assert child_environment(load_settings_of(load_app(shop)), {"HOME": "/"}) == {"HOME": "/"}


def test_a_given_instance_name_is_what_children_number(shop: str) -> None:
    app = load_app(shop)
    commands = child_commands(shop, app.plan(), load_settings_of(app, instance="blue"), 2)
    assert [command[command.index("--instance") + 1] for command in commands] == ["blue-0", "blue-1"]
    assert [command[command.index("--http-port") + 1] for command in commands] == ["0", "0"]
