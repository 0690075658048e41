"""``streamserve lag``: how far an app is behind its input."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from streamserve.cli.loading import load_plan
from streamserve.cli.options import AppName, AsJson, Brokers
from streamserve.errors import TopicError

if TYPE_CHECKING:
    from streamserve.kafka.admin import PartitionLag

Watch = Annotated[bool, typer.Option("--watch", "-w", help="Show it again and again, until Ctrl-C.")]
Every = Annotated[float, typer.Option(min=0.1, max=3600, help="Seconds between two looks of --watch.")]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("lag")(lag)


def lag(
    name: AppName, brokers: Brokers = None, watch: Watch = False, every: Every = 2.0, as_json: AsJson = False
) -> None:
    """Show how many records wait in each input partition of an app, behind its committed offset.

    The end is the last stable offset: what an open transaction holds back does not wait yet. Where the lag is 0 nothing
    waits; otherwise transactions' markers between the records are counted with them.

    Example: streamserve lag topologies.flights.app:app --watch
    """
    from streamserve.kafka.admin import Admin

    plan, settings = load_plan(name, brokers)
    admin = Admin(settings)
    inputs = [topic for part in plan.parts for topic in part.topics]
    missing = sorted(set(inputs) - admin.partitions().keys())
    if missing:
        raise TopicError(
            f"no topic {', '.join(missing)}: 'streamserve topics create MODULE:APP' creates what is missing"
        )
    while True:
        _show(admin.lag(plan.app, inputs), as_json=as_json)
        if not watch:
            return
        time.sleep(every)


def _show(lags: list[PartitionLag], *, as_json: bool) -> None:
    from streamserve.cli.console import print_json, print_table

    total = sum(partition.lag for partition in lags)
    if as_json:
        print_json({"lag": total, "partitions": [asdict(partition) for partition in lags]})
        return
    rows = [
        (one.topic, one.partition, "never" if one.committed is None else one.committed, one.end, one.lag)
        for one in lags
    ]
    print_table(("topic", "partition", "committed", "end", "lag"), rows, title=f"waiting: {total:,}")
