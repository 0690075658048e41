"""``streamserve doctor``: what would keep an app from working, and what to do about it."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streamserve.cli.completion import complete_apps
from streamserve.cli.loading import kafka_keys, load_plan
from streamserve.cli.options import AsJson, Brokers, KafkaKeys

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamserve.dataflow.planning.plan import Plan
    from streamserve.ops.doctor import Finding
    from streamserve.settings import Settings

AppToExamine = Annotated[
    str | None,
    typer.Argument(
        metavar="MODULE:APP",
        help="The app; without one, only this machine and the brokers are looked at.",
        show_default=False,
        autocompletion=complete_apps,
    ),
]
_COLOURS = {"fault": "red", "warning": "yellow", "unknown": "magenta", "fine": "green"}
_HOW = (
    "A topic's settings: kafka-configs.sh --bootstrap-server BROKERS --alter --entity-type topics --entity-name TOPIC"
    " --add-config NAME=VALUE, or your provider's console. A broker's: its server.properties."
)


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("doctor")(doctor)


def doctor(
    name: AppToExamine = None, brokers: Brokers = None, kafka: KafkaKeys = None, as_json: AsJson = False
) -> None:
    """Look for what will not work or will hurt, on this machine, on brokers and in files, and say what to do.

    Nothing is changed; one transactional id of the app's, NAME.doctor, is tried. Run it with the credentials of the
    worker, where the worker runs. The exit code is 1 where there is a fault; warnings alone leave it at 0.

    Example: streamserve doctor topologies.flights.app:app --brokers 127.0.0.1:9092
    """
    from streamserve.cli.console import print_json, waiting
    from streamserve.ops.doctor import examine
    from streamserve.ops.doctor.finding import worst_first

    plan, settings = _of(name, brokers, kafka)
    with waiting("looking at this machine, brokers and files"):
        findings = worst_first(examine(settings, plan))
    faults = sum(finding.level == "fault" for finding in findings)
    if as_json:
        print_json({"app": name, "faults": faults, "findings": [asdict(finding) for finding in findings]})
    else:
        _print(findings)
    if faults:
        raise typer.Exit(1)


def _of(name: str | None, brokers: str | None, kafka: list[str] | None) -> tuple[Plan | None, Settings]:
    from streamserve.settings import load_settings

    if name is None:
        keys = {**load_settings().kafka, **kafka_keys(kafka or ())}
        return None, load_settings(None, {"bootstrap_servers": brokers, "kafka": keys})
    return load_plan(name, brokers, kafka=kafka)


def _print(findings: Sequence[Finding]) -> None:
    from rich.console import Console
    from rich.markup import escape
    from rich.table import Table

    table = Table("", "of", "found", "what to do", header_style="bold")
    for column in table.columns[1:]:
        column.overflow = "fold"
    for finding in findings:
        mark = f"[{_COLOURS[finding.level]}]{finding.level}[/]"
        table.add_row(mark, escape(finding.where), escape(finding.what), escape(finding.remedy))
    console = Console()
    console.print(table)
    if any(
        finding.remedy.startswith("set ") and finding.where.startswith(("topic ", "broker ")) for finding in findings
    ):
        console.print(_HOW, highlight=False)
    counts = {level: sum(finding.level == level for finding in findings) for level in _COLOURS}
    console.print(", ".join(f"[{_COLOURS[level]}]{_told(level, count)}[/]" for level, count in counts.items() if count))


def _told(level: str, count: int) -> str:
    """Return so many findings of a level: faults and warnings have a plural."""
    from streamserve.ops.doctor.finding import counted

    return counted(count, level) if level in {"fault", "warning"} else f"{count} {level}"
