from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.benchmarks.compare.outputs import expected
from tests.benchmarks.suite import ROOT

pytestmark = pytest.mark.broker

EVENTS = 100_000


def test_engines_are_compared_on_the_same_job_with_equal_outputs(brokers: str) -> None:
    least = ["--engines", "hand_loop,score", "--events", str(EVENTS), "--rounds", "1"]
    latency = ["--rates", "100,300", "--latency-seconds", "1.6"]
    command = [sys.executable, "-m", "tests.benchmarks.compare", *least, *latency, "--brokers", brokers, "--json"]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["left_out"] == {}
    assert {engine["digest"] for engine in report["engines"].values()} == {expected(EVENTS).digest()}
    for engine in report["engines"].values():
        assert engine["per_second"]["median"] > 1000
        assert engine["cpu_us"]["median"] > 0.5
        assert 20 < engine["memory_mib"]["median"] < 1000
        assert engine["latency_ms"].keys() == {"100", "300"}
    ratio = report["engines"]["score"]["ratio_to"]["hand_loop"]["median"]
    assert 0 < ratio * report["engines"]["hand_loop"]["ratio_to"]["score"]["median"] == pytest.approx(1, rel=0.02)
