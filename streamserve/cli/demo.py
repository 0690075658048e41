"""``streamserve demo``: a year of flights through real workers on a real broker. In a checkout only."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from streamserve.errors import ConfigurationError

__all__ = ["register"]

Events = Annotated[
    int | None, typer.Option(min=1, help="Replay the first so many flights (default: all 336,776).", show_default=False)
]
Chaos = Annotated[int, typer.Option(min=0, help="SIGKILL a worker so many times at random moments of the replay.")]
WorkerCount = Annotated[int, typer.Option("--workers", min=1, max=4, help="Worker processes; three have work to do.")]
Brokers = Annotated[
    str | None,
    typer.Option(
        help="Use this broker (host:port) in place of a temporary one; topics stay there.", show_default=False
    ),
]
Recreate = Annotated[bool, typer.Option("--recreate", help="With --brokers: delete the demo's topics there first.")]
Speed = Annotated[
    float | None,
    typer.Option(min=1, help="Replay at this multiple of real time (default: as fast as it goes).", show_default=False),
]
Plots = Annotated[
    Path | None,
    typer.Option(
        file_okay=False,
        metavar="FOLDER",
        help="Draw drift, live quality and the summary as SVG files (extra: plots).",
        show_default=False,
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line; progress to stderr.")]


def register(main: typer.Typer) -> None:
    """Add the command to ``main``."""
    main.command("demo")(demo)


def demo(
    events: Events = None,
    as_json: AsJson = False,
    chaos: Chaos = 0,
    workers: WorkerCount = 1,
    brokers: Brokers = None,
    recreate: Recreate = False,
    speed: Speed = None,
    plots: Plots = None,
) -> None:
    """Replay the flights of New York in 2013: features, predictions, drift, and every record counted at the end.

    Starts Kafka and workers, replays flights, departures, weather and arrivals in the order of event time, then reads
    all topics back: every prediction is held against an offline score, every rolling delay and every label's outcome
    against a computation of its own. The exit code is 1 where a record was lost or came twice, or anything differs.

    Example: streamserve demo --events 20000 --chaos 1
    """
    _require_checkout()
    from rich.console import Console

    from topologies.flights.demo import Options, Screen, run_demo

    if recreate and brokers is None:
        raise typer.BadParameter(
            "it is for --brokers: a broker of the demo's own starts empty", param_hint="--recreate"
        )
    options = Options(
        events=events, workers=workers, kills=chaos, brokers=brokers, recreate=recreate, speed=speed, plots=plots
    )
    summary = run_demo(options, Screen(Console(stderr=True)))
    if as_json:
        typer.echo(summary.as_json())
    else:
        summary.print(Console())
    if not summary.good:
        raise typer.Exit(1)


def _require_checkout() -> None:
    if find_spec("topologies") is None:
        raise ConfigurationError(
            "the demo is part of the source tree, not of the installed package: clone the repository, install it with "
            'pip install -e ".[demo]" and run streamserve demo there'
        )
