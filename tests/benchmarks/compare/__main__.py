"""``python -m tests.benchmarks.compare``: measure, or take a report; print it, draw it, write it into the README."""

from __future__ import annotations

import json
import signal
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from streamserve.errors import StreamserveError
from tests.benchmarks.broker import broker_for, end_as_on_interrupt
from tests.benchmarks.compare.engines import ENGINES
from tests.benchmarks.compare.report import summarize
from tests.benchmarks.compare.rounds import Plan, run
from tests.benchmarks.compare.tables import as_tables, put_into_readme
from topologies.drawing import require_matplotlib

_progress = Console(stderr=True, soft_wrap=True, highlight=False)

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)


@app.command()
def compare(
    engines: Annotated[str, typer.Option(help="Some of these, by comma.")] = ",".join(ENGINES),
    events: Annotated[
        int, typer.Option(min=10_000, help="Events of each round, for engines of ordinary speed.")
    ] = 1_000_000,
    rounds: Annotated[int, typer.Option(min=1, help="How often each is measured, in turn.")] = 5,
    rates: Annotated[
        str, typer.Option(help="Events a second at which latency is measured; empty: none.")
    ] = "100,1000,10000,50000",
    latency_seconds: Annotated[float, typer.Option(min=1, help="How long, at each rate.")] = 10.0,
    brokers: Annotated[str | None, typer.Option(help="A Kafka on this machine (default: one for this run).")] = None,
    report: Annotated[
        Path | None, typer.Option(help="Measure nothing: take what an earlier run printed with --json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
    plot: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw it as SVG into this file.")] = None,
    readme: Annotated[bool, typer.Option("--readme", help="Write the tables into README.md.")] = False,
) -> None:
    """Measure streamserve, a hand-written loop and other engines at the same job, one process each.

    With the defaults it takes about an hour; engines that cannot be had here are left out, and named.
    """
    if plot is not None:
        require_matplotlib()
    if report is not None:
        found = json.loads(report.read_text(encoding="utf-8").splitlines()[-1])
    else:
        plan = Plan(
            engines=_chosen(engines),
            events=events,
            rounds=rounds,
            rates=[int(rate) for rate in rates.split(",") if rate],
            seconds=latency_seconds,
        )
        found = _measured(brokers, plan)
    _show(found, as_json=as_json, plot=plot, readme=readme)


def _chosen(engines: str) -> Sequence[str]:
    names = engines.split(",")
    unknown = [name for name in names if name not in ENGINES]
    if unknown:
        raise typer.BadParameter(f"no engine {', '.join(unknown)}: there are {', '.join(ENGINES)}")
    return names


def _measured(brokers: str | None, plan: Plan) -> dict[str, Any]:
    signal.signal(signal.SIGTERM, end_as_on_interrupt)
    try:
        with broker_for(brokers) as (address, kafka):
            return summarize(run(address, plan, _progress.print), plan, kafka=kafka)
    except StreamserveError as error:
        _progress.print(f"[red]Error:[/] {escape(str(error))}")
        raise typer.Exit(1) from error


def _show(found: dict[str, Any], *, as_json: bool, plot: Path | None, readme: bool) -> None:
    if as_json:
        typer.echo(json.dumps(found))
    else:
        Console().print(*as_tables(found))
    if plot is not None:
        from tests.benchmarks.compare.plot import draw

        draw(plot, found)
    if readme:
        put_into_readme(found)


if __name__ == "__main__":
    app()
