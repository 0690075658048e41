"""Both flights apps through a kill and a rescaling each: windows, labels, metrics, drift, state as recomputed.

The long version: ``python -m tests.integration.flights_storm``.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.broker

ROOT = Path(__file__).parents[2]
EVENTS, SKIP = 3600, 26_100
"""From the last of January to the fourth of February: labels are given up too, and a month is settled and reported."""


def test_a_kill_and_a_rescaling_change_nothing_that_is_written_and_no_changelog() -> None:
    storm = ["--kills", "1", "--scales", "2", "--seed", "3"]
    options = ["--events", str(EVENTS), "--skip", str(SKIP), *storm, "--json"]
    command = [sys.executable, "-m", "tests.integration.flights_storm", *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=280, check=False)
    assert ended.stdout, ended.stderr[-4000:]
    report = json.loads(ended.stdout.splitlines()[-1])
    wrong = [finding for finding in report["findings"] if finding["differing"]]
    assert (ended.returncode, wrong) == (0, [])
    assert report["kills"] == {"flights": 1, "activity": 1}
    compared = {finding["what"]: finding["compared"] for finding in report["findings"]}
    assert compared.pop("drift alarms") == 0  # detectors compare spans of a week
    assert min(compared.values()) > 0
    assert set(report["statuses"]) == {"matched", "unlabelled", "repeated", "late", "unpredicted"}
