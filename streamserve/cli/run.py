"""``streamserve run``: an app's workers."""

from __future__ import annotations

import gc
import os
import time
from typing import TYPE_CHECKING, Annotated

import typer

from streamserve.cli.options import DEFAULT_PARTITIONS, AppName, Brokers, KafkaKeys, Partitions
from streamserve.errors import ConfigurationError

if TYPE_CHECKING:
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.settings import Settings

Workers = Annotated[
    int, typer.Option(min=1, max=256, help="Worker processes; more than one are supervised and restarted.")
]
Instance = Annotated[
    str | None,
    typer.Option(
        help="This worker's name in the consumer group: stable across restarts, unique in the app"
        " (default: APP-HOST-0; several workers have -0, -1 and so on behind it).",
        show_default=False,
    ),
]
CommitInterval = Annotated[
    str | None,
    typer.Option(help="How long a transaction stays open under load, such as 100ms or 1s.", show_default=False),
]
HttpPort = Annotated[
    int | None,
    typer.Option(
        min=0,
        max=65535,
        help="Port of /metrics, /healthz and /readyz on loopback; 0 takes a free one; workers count up from it.",
        show_default=False,
    ),
]
CreateTopics = Annotated[bool, typer.Option("--create-topics", help="Create the topics that are missing first.")]
JsonLogs = Annotated[bool, typer.Option("--json-logs", help="Log JSON lines, also to a terminal.")]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("run")(run)


def run(
    name: AppName,
    workers: Workers = 1,
    brokers: Brokers = None,
    instance: Instance = None,
    commit_interval: CommitInterval = None,
    http_port: HttpPort = None,
    create_topics: CreateTopics = False,
    partitions: Partitions = DEFAULT_PARTITIONS,
    kafka: KafkaKeys = None,
    json_logs: JsonLogs = False,
) -> None:
    """Run an app until SIGTERM or Ctrl-C, which finish and commit the work at hand; a second one ends it at once.

    Exit codes: 0 after such an end, 1 when the worker failed, 2 when something has to be changed first.

    Example: streamserve run topologies.flights.app:app --workers 2
    """
    _live_in_utc()
    gc.disable()  # of what is imported nothing is garbage: looking for it takes a tenth of the time until all is there
    from streamserve.cli.console import fail
    from streamserve.cli.loading import load_app, load_settings_of

    given = {"bootstrap_servers": brokers, "instance": instance, "commit_interval": commit_interval}
    try:
        app = load_app(name)
        settings = load_settings_of(app, kafka=kafka, http_port=http_port, **given)
        if create_topics:
            from streamserve.cli.topics import create_missing

            create_missing(app.plan(), settings, partitions)
        code = _work(name, app.plan(), settings, workers, json_logs=json_logs)
    except ConfigurationError as error:
        fail(error, code=2, app=name)
    finally:
        gc.enable()
    raise typer.Exit(code)


def _work(name: str, plan: Plan, settings: Settings, workers: int, *, json_logs: bool) -> int:
    """Run one worker here, or several under a supervisor; return the exit code."""
    if workers > 1:
        gc.enable()
        from streamserve.cli.workers import run_workers

        return run_workers(name, plan, settings, workers, json_logs=json_logs)
    from streamserve.cli.worker import run_worker

    run_worker(plan, settings, json_logs=json_logs)
    return 0


def _live_in_utc() -> None:
    """Set the process's zone before Feast's SQLite store takes times through it."""
    os.environ["TZ"] = "UTC"
    time.tzset()
