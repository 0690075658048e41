from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from tests.benchmarks.__main__ import app
from tests.benchmarks.plot import draw
from tests.benchmarks.report import summarize
from tests.unit.benchmarks.test_report import ROUNDS

REPORT = summarize(ROUNDS, events=1000, kafka="4.3.1")


def test_the_picture_shows_every_program_its_speed_and_the_latencies(tmp_path: Path) -> None:
    draw(tmp_path / "new" / "a.svg", REPORT)
    picture = (tmp_path / "new" / "a.svg").read_text()
    shown = ("hand-written loop", "one-event agent", "0.8 · 240,000 records/s", "p95", "6.0 ms", "goal", "3 rounds")
    assert [words for words in shown if words not in picture] == []


def test_the_same_report_gives_the_same_bytes(tmp_path: Path) -> None:
    for name in ("a.svg", "b.svg"):
        draw(tmp_path / name, REPORT)
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()


@pytest.mark.parametrize("before", ["", "a line of progress\n"])
def test_a_report_that_was_kept_is_drawn_later(tmp_path: Path, before: str) -> None:
    (tmp_path / "report.json").write_text(before + json.dumps(REPORT) + "\n")
    done = CliRunner().invoke(app, ["plot", str(tmp_path / "report.json"), str(tmp_path / "a.svg")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "a.svg").read_text().endswith("</svg>\n")
