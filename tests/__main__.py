"""Everything that must hold before a change goes in: ``python -m tests``; CI runs the same."""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import pytest
from rich.console import Console
from rich.table import Table

from streamserve.broker.server import LocalBroker
from tests import BROKERS_VARIABLE

ROOT = Path(__file__).parents[1]
SCRIPTS = Path(sys.executable).parent
DEMO_EVENTS = 3000
TWO_AT_A_TIME = ("-n", "2")
THREE_AT_A_TIME = ("-n", "3")
"""On Kafka: two at a time leave a third of two cores idle, for they wait for sessions to end, and for each other."""
WAITED_IN_VAIN = ("--reruns", "1", "--only-rerun", "WaitTooLong|Timeout", "-rR")
"""A test on Kafka whose patience ended is tried again, and named: the machine may have been busy. What a test found
wrong is never tried again, for it may come true one time in two and be wrong all the same."""
QUICK_JAVA = "-XX:TieredStopAtLevel=1"
"""Brokers of tests live for minutes at most: Java's thorough compiler takes half of the time of a start (measured)."""

Run: TypeAlias = Callable[[], bool]
"""Runs a step, its output visible, and returns whether it passed."""


@dataclass(frozen=True, slots=True)
class Check:
    """A command that reads the sources only: it runs beside what follows, and its output is shown at its end."""

    name: str
    command: Sequence[str | Path]


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to run on its own."""

    name: str
    run: Run
    needs_broker: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """How a check or step ended, its time in seconds, and what it printed unless that was seen."""

    name: str
    passed: bool
    seconds: float
    output: str = ""


def checks() -> list[Check]:
    """Return all checks, the quickest first."""
    return [
        Check("format", [SCRIPTS / "ruff", "format", "--check", "."]),
        Check("lint", [SCRIPTS / "ruff", "check", "."]),
        Check("imports", [SCRIPTS / "lint-imports", "--no-cache", "--no-logo"]),
        Check("schemas", [sys.executable, "-m", "streamserve.dataflow.planning.schemas", "--check"]),
        Check("errors", [sys.executable, "-m", "streamserve.ops.error_page", "--check"]),
        Check("types", [SCRIPTS / "basedpyright"]),
    ]


def steps() -> list[Step]:
    """Return all steps, in their order."""
    return [
        Step("unit tests and doctests", lambda: _pytest("-m", "not broker", *TWO_AT_A_TIME)),
        Step("tests on Kafka", _tests_on_kafka, needs_broker=True),
        Step("demo", _demo, needs_broker=True),
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run every check and step, whatever became of the others; return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="leave out what needs a Kafka broker")
    quick: bool = parser.parse_args(arguments).quick
    console = Console(highlight=False)
    began = time.monotonic()
    with ThreadPoolExecutor(1) as beside:
        checking = [beside.submit(_checked, check) for check in checks()]
        results = [_timed(step, console) for step in steps() if not step.needs_broker]
        checked = [_shown(done.result(), console) for done in checking]
    if not quick:
        results += [_timed(step, console) for step in steps() if step.needs_broker]
    console.print(_table([*checked, *results], time.monotonic() - began))
    return 0 if all(result.passed for result in [*checked, *results]) else 1


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


def _checked(check: Check) -> Result:
    began = time.monotonic()
    ended = subprocess.run(
        check.command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
    )
    return Result(check.name, ended.returncode == 0, time.monotonic() - began, ended.stdout)


def _shown(result: Result, console: Console) -> Result:
    console.rule(result.name, align="left")
    print(result.output, end="", flush=True)
    return result


def _timed(step: Step, console: Console) -> Result:
    console.rule(step.name, align="left")
    began = time.monotonic()
    passed = step.run()
    return Result(step.name, passed, time.monotonic() - began)


def _pytest(*arguments: str) -> bool:
    return subprocess.run([sys.executable, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode == 0


def _tests_on_kafka() -> bool:
    """Run them on one broker: most three at a time, then those that company would disturb."""
    with ExitStack() as stack:
        environment = stack.enter_context(pytest.MonkeyPatch.context())
        environment.setenv("JDK_JAVA_OPTIONS", QUICK_JAVA, prepend=" ")
        if BROKERS_VARIABLE not in os.environ:
            environment.setenv(BROKERS_VARIABLE, stack.enter_context(LocalBroker()).address)
        most = ("-m", "broker and not alone", "--durations=15", *THREE_AT_A_TIME)
        together = _pytest("tests/integration", *most, *WAITED_IN_VAIN)
        return _pytest("tests/integration", "-m", "broker and alone", *WAITED_IN_VAIN) and together


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


def _table(results: Sequence[Result], seconds: float) -> Table:
    table = Table("step", "", "seconds")
    table.columns[2].justify = "right"
    for result in results:
        table.add_row(result.name, "passed" if result.passed else "[red]FAILED[/]", f"{result.seconds:.1f}")
    table.add_section()
    table.add_row("all", "", f"{seconds:.1f}")
    return table


if __name__ == "__main__":
    sys.exit(main())
