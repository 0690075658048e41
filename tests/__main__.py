"""Everything that must hold before a change goes in: ``python -m tests``; CI runs the same."""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from rich.console import Console
from rich.table import Table

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent
DEMO_EVENTS = 3000

Run: TypeAlias = Callable[[], bool]
"""Runs a step, its output visible, and returns whether it passed."""


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to check."""

    name: str
    run: Run
    needs_broker: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How a step ended, and its time in seconds."""

    name: str
    passed: bool
    seconds: float


def steps() -> list[Step]:
    """Return all steps, the quickest first."""
    return [
        Step("format", _command(SCRIPTS / "ruff", "format", "--check", ".")),
        Step("lint", _command(SCRIPTS / "ruff", "check", ".")),
        Step("imports", _command(SCRIPTS / "lint-imports", "--no-cache", "--no-logo")),
        Step("types", _command(SCRIPTS / "basedpyright")),
        Step("schemas", _module("streamserve.dataflow.schemas", "--check")),
        Step("unit tests and doctests", _module("pytest", "-m", "not broker", "-n", "2", "--dist", "loadfile")),
        Step("tests on Kafka", _module("pytest", "-m", "broker", "tests/integration"), needs_broker=True),
        Step("demo", _demo, needs_broker=True),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every step, whatever became of the others; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what needs a Kafka broker")
    quick: bool = parser.parse_args(arguments).quick
    console = Console(highlight=False)
    results = [_timed(step, console) for step in steps() if not (quick and step.needs_broker)]
    console.print(_table(results))
    return 0 if all(result.passed for result in results) else 1


def demo_problem(last_line: str, *, events: int) -> str | None:
    """Return what is wrong with the demo's summary, or ``None``."""
    try:
        summary = json.loads(last_line)
        outcomes = summary["predictions"] + summary["dead_letters"]
        found = {**{name: summary[name] for name in ("events", "lost", "duplicated")}, "outcomes": outcomes}
    except (ValueError, KeyError, TypeError) as error:
        return f"the last line is no summary ({type(error).__name__}: {error})"
    expected = {"events": events, "lost": 0, "duplicated": 0, "outcomes": events}
    wrong = [f"{name} is {found[name]}, not {value}" for name, value in expected.items() if found[name] != value]
    return "; ".join(wrong) or None


def _timed(step: Step, console: Console) -> Result:
    console.rule(step.name, align="left")
    began = time.monotonic()
    passed = step.run()
    return Result(step.name, passed, time.monotonic() - began)


def _command(*command: str | Path) -> Run:
    return lambda: subprocess.run(command, cwd=ROOT, check=False).returncode == 0


def _module(*arguments: str) -> Run:
    return _command(sys.executable, "-m", *arguments)


def _demo() -> bool:
    """Run the demo on a slice and hold its summary against what went in."""
    command = [sys.executable, "-m", "streamserve", "demo", "--events", str(DEMO_EVENTS), "--json"]
    ended = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    last_line = (ended.stdout.splitlines() or [""])[-1]
    print(last_line, flush=True)
    problem = f"exit code {ended.returncode}" if ended.returncode else demo_problem(last_line, events=DEMO_EVENTS)
    if problem:
        print(f"demo: {problem}", flush=True)
    return problem is None


def _table(results: Sequence[Result]) -> Table:
    table = Table("step", "", "seconds")
    table.columns[2].justify = "right"
    for result in results:
        table.add_row(result.name, "passed" if result.passed else "[red]FAILED[/]", f"{result.seconds:.1f}")
    table.add_section()
    table.add_row("all", "", f"{sum(result.seconds for result in results):.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
