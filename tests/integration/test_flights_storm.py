"""Both flights apps through a kill and a rescaling each: every window, label and changelog as recomputed.

The long version: ``python -m tests.integration.flights_storm``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.broker, pytest.mark.timeout(300)]

ROOT = Path(__file__).parents[2]
EVENTS = 3600
"""Four days, so that labels are given up too."""


def test_a_kill_and_a_rescaling_change_no_prediction_no_window_no_label_and_no_changelog() -> None:
    options = ["--events", str(EVENTS), "--kills", "1", "--scales", "2", "--seed", "3", "--json"]
    command = [sys.executable, "-m", "tests.integration.flights_storm", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert ended.stdout, ended.stderr[-4000:]
    report = json.loads(ended.stdout.splitlines()[-1])
    wrong = [finding for finding in report["findings"] if finding["differing"]]
    assert (ended.returncode, wrong) == (0, [])
    assert report["kills"] == {"flights": 1, "activity": 1}
    assert set(report["statuses"]) == {"matched", "unlabelled", "repeated", "late", "unpredicted"}
