"""``python -m tests.benchmarks``: the suite, and each of its parts for the suite to run in a process of its own."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated, Literal

import msgspec
import typer
from rich.console import Console
from rich.markup import escape

from streamserve.errors import StreamserveError
from tests.benchmarks import workload
from tests.benchmarks.broker import broker_for, end_as_on_interrupt
from topologies.drawing import require_matplotlib

Program = Literal["hand_loop", "score", "agent", "feast"]
Brokers = Annotated[str, typer.Option(help="Address of Kafka.")]
Source = Annotated[str, typer.Option(help="Topic of events.")]
Target = Annotated[str, typer.Option(help="Topic of predictions.")]

app = typer.Typer(
    no_args_is_help=True,
    help="Measure streamserve against a hand-written loop.",
    add_completion=False,
    pretty_exceptions_enable=False,  # the suite shows the last lines
)
_progress = Console(stderr=True, soft_wrap=True, highlight=False)


@app.command()
def suite(
    events: Annotated[int, typer.Option(min=100_000)] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1)] = 3,
    brokers: str | None = None,
    as_json: Annotated[bool, typer.Option("--json")] = False,
    picture: Annotated[Path | None, typer.Option("--plot")] = None,
    latency_seconds: Annotated[float, typer.Option(help="How long latency is measured.")] = 8.0,
) -> None:
    """Measure everything; ``--json`` prints one object as the last line, ``--plot`` draws it."""
    from tests.benchmarks.plot import draw
    from tests.benchmarks.report import as_table, summarize
    from tests.benchmarks.suite import run_suite

    if picture is not None:
        require_matplotlib()
    signal.signal(signal.SIGTERM, end_as_on_interrupt)
    try:
        with broker_for(brokers) as (address, kafka):
            found = run_suite(address, events=events, rounds=rounds, tell=_progress.print, latency_s=latency_seconds)
    except StreamserveError as error:
        _progress.print(f"[red]Error:[/] {escape(str(error))}")
        raise typer.Exit(1) from error
    report = summarize(found, events=events, kafka=kafka)
    if as_json:
        typer.echo(json.dumps(report))
    else:
        Console().print(as_table(report))
    if picture is not None:
        draw(picture, report)


@app.command()
def plot(report: Annotated[Path, typer.Argument(help="What the suite printed with --json.")], file: Path) -> None:
    """Draw a report of the suite."""
    from tests.benchmarks.plot import draw

    draw(file, json.loads(report.read_text(encoding="utf-8").splitlines()[-1]))


@app.command()
def measure(
    program: Program,
    brokers: Brokers,
    source: Source,
    target: Target,
    goal: Annotated[int, typer.Option(help="Records to commit.")],
    feature_repo: Path | None = None,
) -> None:
    """Measure one program in this process and print the measurement."""
    if (program == "feast") != (feature_repo is not None):
        raise typer.BadParameter("feast, and nothing else, needs --feature-repo")
    if program == "hand_loop":
        from tests.benchmarks import hand_loop

        measured = hand_loop.run(brokers, source, target, goal)
    else:
        from tests.benchmarks import apps

        level = "agent" if program == "agent" else "score"
        measured = apps.measure(level, brokers, source, target, goal, feature_repo)
    typer.echo(msgspec.json.encode(measured))


@app.command()
def serve(program: Literal["hand_loop", "score"], brokers: Brokers, source: Source, target: Target) -> None:
    """Run the hand-written loop or the declared app until standard input ends."""
    from tests.benchmarks import apps, hand_loop

    serving = {"hand_loop": hand_loop.serve, "score": apps.serve}
    serving[program](brokers, source, target)


@app.command()
def load(brokers: Brokers, source: Source, events: int = 1_000_000) -> None:
    """Write the events into a topic."""
    workload.load(brokers, source, events)


@app.command("feature-repo")
def feature_repo(folder: Path) -> None:
    """Make the Feast repository in a new folder."""
    from tests.benchmarks import feature_repo

    feature_repo.build(folder)


if __name__ == "__main__":
    app()
