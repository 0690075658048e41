"""``streamserve broker``: a real Kafka broker on this machine, for development, tests and the demo."""

from __future__ import annotations

import json
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.markup import escape

from streamserve.broker.server import DEFAULT_PORT, RunningBroker, start, status, stop
from streamserve.errors import StreamserveError

app = typer.Typer(no_args_is_help=True, help="Run Apache Kafka on this machine, for development, tests and the demo.")

DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="The broker's folder (default: one in your state folder).", show_default=False),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Port = Annotated[
    int | None,
    typer.Option(
        min=0, max=65535, help=f"Port on 127.0.0.1; 0 takes a free one (default: {DEFAULT_PORT}).", show_default=False
    ),
]


@app.command("start")
def start_command(port: Port = None, data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Start the broker, and return when it answers; where it runs already, say so.

    The first start fetches the pinned jars of Kafka (56 MB). KAFKA_HOME uses an installed Kafka, JAVA_HOME a Java.

    Example: streamserve broker start --port 9092
    """
    with _failures():
        before = status(data_dir)
        broker = start(data_dir, port=port)
    _print(broker, "runs already" if before == broker else "started", as_json=as_json)


@app.command("stop")
def stop_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Stop the broker; its topics are kept. Fine where none runs.

    Example: streamserve broker stop
    """
    with _failures():
        broker = stop(data_dir)
    if broker is None:
        _print_absence(as_json=as_json)
    else:
        _print(broker, "stopped", as_json=as_json)


@app.command("status")
def status_command(data_dir: DataDir = None, as_json: AsJson = False) -> None:
    """Show whether the broker runs and answers, and where. The exit code is 1 where it does not.

    Example: streamserve broker status --json
    """
    broker = status(data_dir)
    if broker is None:
        _print_absence(as_json=as_json)
        raise typer.Exit(1)
    answers = broker.answers()
    _print(broker, "running" if answers else "not answering", as_json=as_json)
    if not answers:
        raise typer.Exit(1)


def _print(broker: RunningBroker, state: str, *, as_json: bool) -> None:
    if as_json:
        typer.echo(json.dumps({"state": state, **asdict(broker)}))
        return
    console = Console(soft_wrap=True)
    console.print(f"Kafka {escape(broker.kafka)} [bold]{state}[/]: [bold]{broker.address}[/]", highlight=False)
    details = (
        f"process {broker.pid}, Java {broker.java}, since {broker.started_at}",
        f"data {broker.data_dir}",
        f"log  {broker.log}",
    )
    console.print(*details, sep="\n", style="dim", markup=False, highlight=False)


def _print_absence(*, as_json: bool) -> None:
    state = "not running"
    typer.echo(json.dumps({"state": state}) if as_json else f"Kafka {state}; start it with: streamserve broker start")


@contextmanager
def _failures() -> Generator[None]:
    """Turn an error of ours into its text on standard error and exit code 1."""
    try:
        yield
    except StreamserveError as error:
        Console(stderr=True, soft_wrap=True).print(f"[red]Error:[/] {escape(str(error))}", highlight=False)
        raise typer.Exit(1) from error
