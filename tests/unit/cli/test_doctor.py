"""``streamserve doctor`` as it is called; what it finds is tested where it looks."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
from typer.testing import CliRunner

from streamserve.cli import main
from streamserve.ops.doctor import Finding
from streamserve.ops.doctor.finding import fault, fine, unknown, warning

UNREACHABLE = "127.0.0.1:1"
FINE, WARNING = fine("clock", "clocks", "agree"), warning("java", "Java", "none", "install one")
FAULT, UNKNOWN = fault("broker", "Kafka at [x]", "is away", "start it"), unknown("release", "brokers", "hidden", "ask")


def finds(monkeypatch: pytest.MonkeyPatch, *findings: Finding) -> None:
    def examine(*_: object) -> Iterator[Finding]:
        return iter(findings)

    monkeypatch.setattr("streamserve.ops.doctor.examine", examine)


@pytest.mark.parametrize(("finding", "code"), [(FINE, 0), (WARNING, 0), (UNKNOWN, 0), (FAULT, 1)])
def test_only_a_fault_fails(monkeypatch: pytest.MonkeyPatch, finding: Finding, code: int) -> None:
    finds(monkeypatch, finding)
    assert CliRunner().invoke(main, ["doctor"]).exit_code == code


def test_the_worst_comes_first_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, FINE, WARNING, UNKNOWN, FAULT)
    text = CliRunner().invoke(main, ["doctor"], env={"COLUMNS": "120"}).stdout
    assert text.index("Kafka at [x]") < text.index("install one") < text.index("brokers") < text.index("clocks")
    assert text.splitlines()[-1] == "1 fault, 1 warning, 1 unknown, 1 fine"
    assert "kafka-configs.sh" not in text


def test_of_a_setting_that_has_to_be_changed_it_says_how(monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, FAULT, fault("changelog-policy", "topic t", "is deleted", "set cleanup.policy=compact"))
    text = CliRunner().invoke(main, ["doctor"], env={"COLUMNS": "120"}).stdout
    assert "kafka-configs.sh --bootstrap-server BROKERS --alter" in text
    assert text.splitlines()[-1] == "2 faults"


def test_programs_get_the_same_as_json(monkeypatch: pytest.MonkeyPatch) -> None:
    finds(monkeypatch, FINE, FAULT)
    told = json.loads(CliRunner().invoke(main, ["doctor", "--json"]).stdout)
    assert (told["app"], told["faults"]) == (None, 1)
    assert told["findings"][0] == {
        "level": "fault",
        "name": "broker",
        "where": "Kafka at [x]",
        "what": "is away",
        "remedy": "start it",
    }


def test_a_broker_that_is_away_is_a_fault_and_not_an_error(shop: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STREAMSERVE_SHUTDOWN_TIMEOUT", "200ms")
    result = CliRunner().invoke(main, ["doctor", shop, "--brokers", UNREACHABLE, "--json"])
    told = {finding["name"]: finding["level"] for finding in json.loads(result.stdout)["findings"]}
    assert (result.exit_code, told["broker"], told["python"]) == (1, "fault", "fine")
    assert "topics-missing" not in told
