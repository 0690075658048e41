from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from compose.dashboards import BOARDS

from .queries import exported, unknown

COMPOSE = Path(__file__).parents[3] / "compose"
PROMETHEUS = COMPOSE / "prometheus"
RULES: list[dict[str, Any]] = [
    rule for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"] for rule in group["rules"]
]
NAMES = [rule["alert"] for rule in RULES]
CHECKS = (("check", "config", "prometheus.yml"), ("check", "rules", "alerts.yml"), ("test", "rules", "alerts_test.yml"))


def runbook_entries() -> dict[str, str]:
    """The text of each entry by the anchor that its heading gets."""
    parts = re.split(r"^### (.+)$", (COMPOSE / "runbook.md").read_text(), flags=re.MULTILINE)[1:]
    return {heading.lower(): text.strip() for heading, text in zip(parts[::2], parts[1::2], strict=True)}


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_a_rule_asks_only_for_what_workers_export(rule: dict[str, Any]) -> None:
    assert unknown(rule["expr"], exported()) == []


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alert_has_a_severity_a_summary_and_an_entry_in_the_runbook(rule: dict[str, Any]) -> None:
    assert rule["labels"].keys() == {"severity"}
    assert rule["labels"]["severity"] in {"critical", "warning", "info"}
    assert rule["annotations"]["runbook_url"] == f"runbook.md#{rule['alert'].lower()}"
    assert rule["annotations"]["summary"]
    assert runbook_entries()[rule["alert"].lower()]


def test_the_runbook_has_no_entry_without_an_alert() -> None:
    assert runbook_entries().keys() == {name.lower() for name in NAMES}


def test_the_runbook_names_panels_that_there_are() -> None:
    named = set(re.findall(r"\*([A-Z][\w -]+)\*", (COMPOSE / "runbook.md").read_text()))
    titles = [panel.title for board in BOARDS for row in board.rows for panel in row.panels]
    assert len(named) > 5
    assert {name for name in named if not any(title.startswith(name) for title in titles)} == set()


@pytest.mark.parametrize("document", ["README.md", "compose/operations.md", "compose/runbook.md", "compose/README.md"])
def test_documents_name_metrics_that_workers_export(document: str) -> None:
    named = re.findall(r"`((?:streamserve|process)_[a-z_]+)", (COMPOSE.parent / document).read_text())
    known = {re.sub("_(bucket|sum|count)$", "", name) for name in exported()}
    assert [name for name in named if name not in known] == []


def test_every_alert_is_made_to_fire_and_to_stay_silent() -> None:
    """That they do is for promtool to find out."""
    fired: set[str] = set()
    silent: set[str] = set()
    for test in yaml.safe_load((PROMETHEUS / "alerts_test.yml").read_text())["tests"]:
        for expected in test["alert_rule_test"]:
            (fired if expected["exp_alerts"] else silent).add(expected["alertname"])
    assert fired == silent == set(NAMES)


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
@pytest.mark.parametrize("command", CHECKS, ids=" ".join)
def test_promtool_agrees(command: tuple[str, ...]) -> None:
    done = subprocess.run(["promtool", *command], cwd=PROMETHEUS, capture_output=True, check=False, timeout=60)
    assert done.returncode == 0, (done.stdout + done.stderr).decode()
