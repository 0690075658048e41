"""``python -m tests.integration.flights_storm``: the year through both flights apps in a storm, judged at the end."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Annotated, Self

import typer
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table
from typing_extensions import override

from streamserve.errors import StreamserveError
from tests.integration.flights_storm.run import INPUTS, Options, Report, Watch, run_storm
from tests.integration.flights_storm.strikes import Storm

app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
_console = Console(stderr=True, soft_wrap=True, highlight=False)


@app.command()
def storm(
    events: Annotated[int | None, typer.Option(min=100, help="So many flights (default: all that are left).")] = None,
    skip: Annotated[int, typer.Option(min=0, help="Leave out so many flights at the year's beginning.")] = 0,
    kills: Annotated[int, typer.Option(min=0, help="SIGKILLs of each app's workers.")] = 20,
    scales: Annotated[
        str, typer.Option(help="Numbers of workers, one after the other; it begins with 1.")
    ] = "2,3,1,3,1",
    seed: Annotated[int, typer.Option(help="Of the places of the strikes.")] = 1,
    folder: Annotated[
        Path | None, typer.Option(help="Keep broker and logs here (default: a temporary folder).")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object as the last line.")] = False,
) -> None:
    """Run both flights apps while workers are killed and rescaled, then hold every result against the inputs.

    The exit code is 1 where anything differs.
    """
    signal.signal(signal.SIGTERM, _end)
    os.environ["TZ"] = "UTC"  # Feast's SQLite store writes times through the local clock
    time.tzset()
    numbers = [int(number) for number in scales.split(",") if number]
    with TemporaryDirectory(prefix="flights-storm-") as temporary:
        options = Options(
            folder=folder or Path(temporary), events=events, skip=skip, kills=kills, scales=numbers, seed=seed
        )
        try:
            with _Bars() as watch:
                report = run_storm(options, watch)
        except StreamserveError as error:
            _console.print(f"[red]Error:[/] {escape(str(error))}")
            raise typer.Exit(1) from error
    if as_json:
        typer.echo(json.dumps({**dataclasses.asdict(report), "anomalies": report.anomalies}))
    else:
        _print(report)
    if report.anomalies:
        raise typer.Exit(1)


class _Bars(Watch):
    """A bar for each app; strikes and stages stay above."""

    def __init__(self) -> None:
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:.0f} %"),
            TimeElapsedColumn(),
        )
        self._progress = Progress(*columns, console=_console)
        self._bars: dict[str, TaskID] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._progress.stop()

    @override
    def stage(self, what: str) -> None:
        self._progress.console.print(what)

    @override
    def moved(self, app: str, storm: Storm) -> None:
        if app not in self._bars:
            self._bars[app] = self._progress.add_task(app, total=1.0)
        self._progress.update(self._bars[app], completed=storm.share)

    @override
    def struck(self, app: str, what: str) -> None:
        self._progress.console.print(f"{app} at {what}")


def _print(report: Report) -> None:
    table = Table("", "compared", "differing")
    for column in table.columns[1:]:
        column.justify = "right"
    for finding in report.findings:
        colour = "bold red" if finding.differing else ""
        table.add_row(finding.what, f"{finding.compared:,}", f"{finding.differing:,}", style=colour)
    console = Console(highlight=False)
    console.print(table)
    for finding in report.findings:
        for example in finding.examples:
            console.print(f"{finding.what}: {example}", markup=False)
    strikes = ", ".join(f"{report.kills[app]} kills and {report.rescalings[app]} rescalings of {app}" for app in INPUTS)
    outcomes = ", ".join(f"{count:,} {status}" for status, count in report.statuses.items())
    console.print(f"{report.events:,} flights, {report.records:,} records, {strikes}, in {report.seconds:.0f} s")
    console.print(f"labels: {outcomes}")
    console.print(f"{report.anomalies:,} anomalies", style="bold red" if report.anomalies else "bold green")


def _end(number: int, _frame: FrameType | None) -> None:
    """End as on Ctrl-C, so that no process stays behind."""
    sys.exit(128 + number)


if __name__ == "__main__":
    app()
