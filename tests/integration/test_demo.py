"""The demo on the first flights of the year, through real workers."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
EVENTS = 3000
ANOMALIES = ("lost", "duplicated", "disordered", "mismatched", "misrolled", "misjudged")


def demo(brokers: str, *options: str) -> dict[str, Any]:
    """Run the command as a user does, and return the object on its last line."""
    command = [sys.executable, "-m", "streamserve", "demo", "--json", "--brokers", brokers, "--recreate", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr[-4000:]
    return json.loads(ended.stdout.splitlines()[-1])


def test_a_killed_worker_leaves_one_outcome_of_each_flight_that_its_logged_features_explain(brokers: str) -> None:
    """Without a kill it is a step of its own beside the tests."""
    found = demo(brokers, "--events", str(EVENTS), "--chaos", "1")
    assert (found["events"], found["kills"]) == (EVENTS, 1)
    assert found["predictions"] + found["dead_letters"] == EVENTS
    assert {name: found[name] for name in ANOMALIES} == dict.fromkeys(ANOMALIES, 0)
    assert found["outcomes"]["matched"] == found["records_by_topic"]["arrivals"]
    assert found["records"] == sum(found["records_by_topic"].values()) > 2 * EVENTS
    assert found["events_per_second"] > 0
    assert 0 < found["latency_ms"]["p50"] <= found["latency_ms"]["p95"] <= found["latency_ms"]["p99"]
    assert 0.6 < found["auc"]["2013-01"] < 0.9
    assert found["live_auc"] == found["live_auc_recomputed"] == {}  # no month is settled after three days
    assert found["held_out"].keys() == {"3"}
