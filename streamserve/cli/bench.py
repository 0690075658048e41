"""``streamserve bench``: throughput and latency on this machine, beside a hand-written loop. For a checkout only."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from streamserve.errors import ConfigurationError

_CHECKOUT = Path(__file__).parents[2]

Events = Annotated[int, typer.Option(min=100_000, help="Events to load; nine tenths of them are scored.")]
Rounds = Annotated[int, typer.Option(min=1, help="How often everything is measured, in turn; medians are shown.")]
Brokers = Annotated[
    str | None,
    typer.Option(help="Kafka to measure on (default: a local broker for this run).", show_default=False),
]
Plot = Annotated[
    Path | None,
    typer.Option(
        dir_okay=False, metavar="FILE", help="Draw it as SVG into this file (extra: plots).", show_default=False
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")]


def register(main: typer.Typer) -> None:
    """Add the command to the command line."""
    main.command("bench")(bench)


def bench(
    events: Events = 1_000_000,
    rounds: Rounds = 3,
    brokers: Brokers = None,
    as_json: AsJson = False,
    plot: Plot = None,
) -> None:
    """Measure app.score, a one-event agent and app.score with Feast as a ratio to a hand-written loop, and latency.

    Each is measured in a fresh process: 126-byte JSON events, six features, a model of 100 trees, ADWIN, exactly once
    with a commit every 100 ms. Latency is from the moment that an event is due to a read_committed reader, at 1,000
    events/s. With the defaults it takes about three minutes.

    Example: streamserve bench --rounds 1 --json
    """
    _require_checkout()
    options = ["--events", str(events), "--rounds", str(rounds)]
    options += ["--brokers", brokers] if brokers else []
    options += ["--json"] if as_json else []
    options += ["--plot", str(plot.absolute())] if plot else []
    os.chdir(_CHECKOUT)
    os.execv(sys.executable, [sys.executable, "-m", "tests.benchmarks", "suite", *options])  # noqa: S606 - signals and exit code become the suite's


def _require_checkout() -> None:
    if not (_CHECKOUT / "tests" / "benchmarks" / "suite.py").is_file():
        raise ConfigurationError(
            "streamserve bench needs the benchmark's programs, which are not installed with the package: clone the"
            " repository, install it with 'pip install -e .' and run the command there"
        )
