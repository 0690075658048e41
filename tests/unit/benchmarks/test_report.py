from __future__ import annotations

import json

import pytest
from rich.console import Console

from tests.benchmarks.latency import Latency
from tests.benchmarks.meter import Measurement
from tests.benchmarks.report import Round, as_table, summarize


def measured(per_second: float) -> Measurement:
    return Measurement(records=1000, commits=9, seconds=1000 / per_second, cpu_seconds=0.004)


def a_round(hand_loop: float, score: float, agent: float, feast: float, p50: float) -> Round:
    speeds = {"hand_loop": hand_loop, "score": score, "agent": agent, "feast": feast}
    programs = {name: measured(speed) for name, speed in speeds.items()}
    return Round(programs, Latency(events=10, p50=p50, p95=8, p99=12, max=20))


ROUNDS = [
    a_round(400_000, 300_000, 160_000, 200_000, 5),
    a_round(200_000, 180_000, 100_000, 100_000, 6),
    a_round(300_000, 240_000, 150_000, 120_000, 9),
]


def test_ratios_are_taken_within_a_round_before_the_median() -> None:
    report = summarize(ROUNDS, events=1000, kafka="4.3.1")
    assert report["score_vs_hand_loop"] == pytest.approx(0.8)
    assert report["agent_vs_hand_loop"] == pytest.approx(0.5)
    assert report["feast_vs_hand_loop"] == pytest.approx(0.5)
    assert report["spread"]["score_vs_hand_loop"] == [0.75, 0.9]


def test_throughput_and_latency_are_medians() -> None:
    report = summarize(ROUNDS, events=1000, kafka="4.3.1")
    assert (report["hand_loop_per_second"], report["score_per_second"]) == (300_000, 240_000)
    assert report["latency_ms"] == {"p50": 6, "p95": 8, "p99": 12, "max": 20}
    assert report["spread"]["latency_ms"]["p50"] == [5, 9]
    assert report["cpu_us"]["score"] == 4


def test_the_report_is_json_and_names_the_machine() -> None:
    report = json.loads(json.dumps(summarize(ROUNDS, events=1000, kafka="4.3.1")))
    assert report["machine"]["kafka"] == "4.3.1"
    assert report["machine"]["cores"] >= 1


def test_the_table_shows_every_program() -> None:
    console = Console(width=120, record=True, quiet=False, file=None)
    with console.capture() as capture:
        console.print(as_table(summarize(ROUNDS, events=1000, kafka="4.3.1")))
    text = capture.get()
    assert all(title in text for title in ("hand-written loop", "app.score", "one-event agent", "app.score with Feast"))
    assert "0.75 to 0.90" in text
