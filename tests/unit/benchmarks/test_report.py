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
    delays = Latency(events=10, p50=p50, p95=8, p99=12, p999=15, max=20)
    return Round(programs, delays, Latency(events=10, p50=p50 / 2, p95=8, p99=10, p999=20, max=40))


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
    assert report["latency_ms"] == {"p50": 6, "p95": 8, "p99": 12, "p999": 15, "max": 20}
    assert report["spread"]["latency_ms"]["p50"] == [5, 9]
    assert report["hand_loop_latency_ms"] == {"p50": 3, "p95": 8, "p99": 10, "p999": 20, "max": 40}
    assert report["latency_vs_hand_loop"] == {"p50": 2, "p95": 1, "p99": 1.2, "p999": 0.75, "max": 0.5}
    assert report["cpu_us"]["score"] == 4


def test_the_report_is_json_and_names_the_machine() -> None:
    report = json.loads(json.dumps(summarize(ROUNDS, events=1000, kafka="4.3.1")))
    assert report["machine"]["kafka"] == "4.3.1"
    assert report["machine"]["cores"] >= 1


def test_each_goal_says_what_it_asks_what_was_measured_and_whether_that_is_enough() -> None:
    goals = summarize(ROUNDS, events=1000, kafka="4.3.1")["goals"]
    assert goals == {
        "score_vs_hand_loop": {"goal": 0.70, "measured": 0.8, "met": True},
        "agent_vs_hand_loop": {"goal": 0.35, "measured": 0.5, "met": True},
        "latency_p50_ms": {"goal": 8, "measured": 6, "met": True},
        "latency_p99_ms": {"goal": 30, "measured": 12, "met": True},
    }


def test_a_goal_is_met_at_its_bound_and_missed_beyond_it() -> None:
    at_the_bound = [a_round(100_000, 70_000, 35_000, 50_000, 8)]
    beyond_it = [a_round(100_000, 69_900, 34_900, 50_000, 8.01)]
    assert all(goal["met"] for goal in summarize(at_the_bound, events=1000, kafka="4.3.1")["goals"].values())
    goals = summarize(beyond_it, events=1000, kafka="4.3.1")["goals"]
    assert [name for name, goal in goals.items() if goal["met"]] == ["latency_p99_ms"]


def test_the_table_shows_every_program() -> None:
    text = shown(ROUNDS)
    assert all(title in text for title in ("hand-written loop", "app.score", "one-event agent", "app.score with Feast"))
    assert "0.75 to 0.90" in text
    assert "ratio to the hand loop's: p50 2.00, p99 1.20" in text


def test_the_table_says_which_goals_were_missed() -> None:
    assert "goals: 4 of 4 met" in shown(ROUNDS)
    text = " ".join(shown([a_round(100_000, 69_900, 40_000, 50_000, 5)]).split())
    assert "goals: 3 of 4 met; missed: score_vs_hand_loop 0.699 (at least 0.7)" in text


def shown(rounds: list[Round]) -> str:
    """The table as a terminal of 160 columns shows it."""
    console = Console(width=160)
    with console.capture() as capture:
        console.print(as_table(summarize(rounds, events=1000, kafka="4.3.1")))
    return capture.get()
