from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from tests.benchmarks.compare.__main__ import app
from tests.benchmarks.compare.engines import Engine, Program
from tests.benchmarks.compare.plot import draw
from tests.benchmarks.compare.report import summarize
from tests.benchmarks.compare.rounds import Found, Plan, Round
from tests.benchmarks.compare.tables import BEGIN, END, as_markdown, put_into_readme
from tests.benchmarks.compare.trials import Contender, Throughput
from tests.benchmarks.latency import Latency

PLAN = Plan(engines=["hand_loop", "score"], events=1000, rounds=3, rates=[100, 1000], seconds=1)


def a_contender(name: str, title: str, *, is_peer: bool) -> Contender:
    program = Program(["true"], "1.2.3")
    return Contender(name, Engine(title=title, prepare=lambda: program, is_peer=is_peer), program, 1000)


def did(per_second: float) -> Throughput:
    return Throughput(records=100, per_second=per_second, cpu_us=1e6 / per_second, memory_mib=100, digest="d")


def delays(p50: float) -> Latency:
    return Latency(events=10, p50=p50, p95=2 * p50, p99=3 * p50, p999=4 * p50, max=5 * p50)


def a_round(loop: float, score: float, java: float, *, java_keeps_up: bool) -> Round:
    speeds = {"hand_loop": did(loop), "score": did(score), "kafka_streams": did(java)}
    ours = {100: delays(2), 1000: delays(loop / 100)}
    return Round(speeds, {"score": ours, "kafka_streams": ours if java_keeps_up else {100: delays(9)}})


FOUND = Found(
    [
        a_round(400, 300, 100, java_keeps_up=True),
        a_round(200, 180, 90, java_keeps_up=False),
        a_round(300, 240, 60, java_keeps_up=True),
    ],
    {
        "hand_loop": a_contender("hand_loop", "hand-written loop", is_peer=False),
        "score": a_contender("score", "`app.score`", is_peer=False),
        "kafka_streams": a_contender("kafka_streams", "Kafka Streams (Java)", is_peer=True),
    },
    {"faust": "needs a Python"},
)
REPORT: dict[str, Any] = summarize(FOUND, PLAN, kafka="4.3.1")


def test_ratios_are_taken_within_a_round_before_the_median() -> None:
    ratios = REPORT["engines"]["score"]["ratio_to"]
    assert ratios["hand_loop"] == {"median": 0.8, "low": 0.75, "high": 0.9}
    assert ratios["kafka_streams"] == {"median": 3, "low": 2, "high": 4}


def test_figures_are_medians_with_their_spread() -> None:
    score = REPORT["engines"]["score"]
    assert score["per_second"] == {"median": 240, "low": 180, "high": 300}
    assert score["latency_ms"]["1000"]["p99"] == {"median": 9, "low": 6, "high": 12}
    assert score["latency_ms"]["1000"]["p999"]["median"] == 12


def test_a_rate_with_which_an_engine_did_not_always_keep_up_is_left_out() -> None:
    assert REPORT["engines"]["kafka_streams"]["latency_ms"].keys() == {"100"}
    assert REPORT["engines"]["hand_loop"]["latency_ms"] == {}


def test_the_tables_have_every_engine_with_the_versions_of_others() -> None:
    text = as_markdown(REPORT)
    assert "| `app.score` | exactly once | 240 | 0.80 (0.75-0.90) | 3.00 (2.00-4.00) |" in text
    assert "| Kafka Streams (Java) 1.2.3 | exactly once | 90 |" in text
    assert "| `app.score` | 2.0 / 6.0 / 8.0 | 3.0 / 9.0 / 12.0 |" in text
    assert "| Kafka Streams (Java) | 2.0 / 6.0 / 8.0 | - |" in text
    assert "left out: faust (needs a Python)" in text


def test_the_readme_gets_the_tables_between_its_marks_and_stays_else_as_it_is(tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    readme.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    put_into_readme(REPORT, readme)
    put_into_readme(REPORT, readme)
    assert readme.read_text() == f"before\n{BEGIN}\n{as_markdown(REPORT)}\n{END}\nafter\n"


def test_a_readme_without_marks_is_refused(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("no marks")
    with pytest.raises(ValueError, match=r"README\.md needs"):
        put_into_readme(REPORT, tmp_path / "README.md")


def test_the_picture_shows_every_engine_and_the_latencies(tmp_path: Path) -> None:
    draw(tmp_path / "a.svg", REPORT)
    picture = (tmp_path / "a.svg").read_text()
    shown = ("hand-written loop", "app.score", "Kafka Streams", "240", "Latency p99", "3 rounds")
    assert [words for words in shown if words not in picture] == []


def test_a_report_that_was_kept_is_shown_and_drawn_without_measuring(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("a line of progress\n" + json.dumps(REPORT) + "\n")
    options = ["--report", str(tmp_path / "report.json"), "--plot", str(tmp_path / "a.svg")]
    done = CliRunner().invoke(app, options)
    assert done.exit_code == 0, done.output
    assert "Kafka Streams" in done.output
    assert (tmp_path / "a.svg").read_text().endswith("</svg>\n")


def test_an_engine_that_there_is_not_is_a_wrong_usage() -> None:
    done = CliRunner().invoke(app, ["--engines", "score,flink"])
    assert done.exit_code == 2
    assert "flink" in done.output
