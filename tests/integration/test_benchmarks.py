from __future__ import annotations

import json
import subprocess
import sys

import msgspec
import pytest

from streamserve.testing.reading import read_topic
from tests.benchmarks.report import QUANTILES, SERVING
from tests.benchmarks.suite import ROOT, BenchError, Job, create_topics, measure, measure_latency
from tests.benchmarks.workload import USERS, Scored, load

EVENTS = 150_000

pytestmark = pytest.mark.broker


def probabilities(brokers: str, topic: str) -> dict[int, float]:
    """The score of each distinct event."""
    scored = [msgspec.json.decode(record.value or b"", type=Scored) for record in read_topic(brokers, topic)]
    assert len(scored) >= EVENTS * 0.9
    return {item.id: round(item.probability, 5) for item in scored}


def test_the_hand_loop_and_the_engine_do_the_same_job(brokers: str, topic_name: str) -> None:
    targets = {program: f"{topic_name}-{program}" for program in ("hand_loop", "score")}
    create_topics(brokers, topic_name, *targets.values())
    load(brokers, topic_name, EVENTS)
    for program, target in targets.items():
        measured = measure(program, Job(brokers, topic_name, target, int(EVENTS * 0.9)))
        assert measured.commits > 0
        assert measured.per_second > 1000
    by_hand, by_engine = (probabilities(brokers, target) for target in targets.values())
    assert len(by_hand) == USERS
    assert by_hand == by_engine


@pytest.mark.parametrize("program", SERVING)
def test_latency_counts_every_event_after_the_warm_up(brokers: str, program: str) -> None:
    delays = measure_latency(brokers, program, rate=200, seconds=1.6)
    assert 100 < delays.events <= 200
    assert 0 < delays.p50 <= delays.p95 <= delays.p99 <= delays.max


def test_a_program_that_fails_is_named_with_what_it_said(brokers: str) -> None:
    with pytest.raises(BenchError, match=r"(?s)measure feast.*needs --feature-repo"):
        measure("feast", Job(brokers, "no-topic", "no-topic", 10))


def test_bench_prints_every_figure_as_one_object(brokers: str) -> None:
    """``streamserve bench`` runs this suite; here with as little as tells anything."""
    least = ["--events", "100000", "--rounds", "1", "--latency-seconds", "1.6"]
    command = [sys.executable, "-m", "tests.benchmarks", "suite", "--json", *least, "--brokers", brokers]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout.splitlines()[-1])
    assert report["score_per_second"] > 1000
    assert all(report[f"{program}_vs_hand_loop"] > 0 for program in ("score", "agent", "feast"))
    for name in QUANTILES:
        ratio = report["latency_ms"][name] / report["hand_loop_latency_ms"][name]
        assert report["latency_vs_hand_loop"][name] == pytest.approx(ratio, rel=0.02)
    assert all(goal["met"] in {True, False} for goal in report["goals"].values())
    assert report["spread"]["score_vs_hand_loop"] == [report["score_vs_hand_loop"]] * 2
