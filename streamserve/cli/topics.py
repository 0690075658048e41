"""``streamserve topics``: the topics that an app needs, on the broker."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import typer

from streamserve.cli.loading import load_plan
from streamserve.cli.options import DEFAULT_PARTITIONS, AppName, AsJson, Brokers, Partitions

if TYPE_CHECKING:
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.settings import Settings

_APPEARS_SECONDS = 10.0
"""How long a topic that was created may take until the broker lists it."""

topics = typer.Typer(no_args_is_help=True, help="Create, list and check the topics of an app.")


def register(main: typer.Typer) -> None:
    """Add the commands."""
    main.add_typer(topics, name="topics")


@topics.command("create")
def create(
    name: AppName, partitions: Partitions = DEFAULT_PARTITIONS, brokers: Brokers = None, as_json: AsJson = False
) -> None:
    """Create the topics of an app that are missing; those that exist are left as they are.

    Topics that are read together get the number of partitions that the first of them has. The exit code is 1 where an
    existing topic does not fit.

    Example: streamserve topics create topologies.flights.app:app --partitions 4
    """
    from streamserve.cli.console import print_json

    plan, settings = load_plan(name, brokers)
    created = create_missing(plan, settings, partitions)
    if as_json:
        print_json({"created": created})
    else:
        typer.echo(f"created {', '.join(created)}" if created else "nothing is missing")
    _fail_on(_problems(plan, settings), name)


@topics.command("list")
def list_command(name: AppName, brokers: Brokers = None, as_json: AsJson = False) -> None:
    """List the topics of an app: what each is for, and how many partitions it needs and has.

    Example: streamserve topics list topologies.flights.app:app --json
    """
    from streamserve.cli.console import print_json, print_table
    from streamserve.dataflow.planning.topics import topic_specs
    from streamserve.kafka.admin import Admin

    plan, settings = load_plan(name, brokers)
    found = Admin(settings).partitions()
    rows: list[dict[str, Any]] = [
        {"topic": spec.name, "purpose": spec.purpose, "needed": spec.partitions, "partitions": found.get(spec.name)}
        for spec in topic_specs(plan, found)
    ]
    if as_json:
        print_json(rows)
        return
    told = [(row["topic"], row["purpose"], row["needed"] or "any", row["partitions"] or "missing") for row in rows]
    print_table(("topic", "purpose", "partitions needed", "partitions"), told)


@topics.command("check")
def check(name: AppName, brokers: Brokers = None, as_json: AsJson = False) -> None:
    """Check that the topics of an app are there, and that those read together have as many partitions.

    The exit code is 1 where they do not.

    Example: streamserve topics check topologies.flights.app:app
    """
    from streamserve.cli.console import print_json

    plan, settings = load_plan(name, brokers)
    problems = _problems(plan, settings)
    if as_json:
        print_json({"problems": problems})
    elif not problems:
        typer.echo("all topics are as they should be")
    _fail_on(problems, name, told=as_json)


def create_missing(plan: Plan, settings: Settings, partitions: int) -> list[str]:
    """Create what is missing and wait until the broker lists it; return the names.

    Raises:
        TopicError: the broker refuses a topic.
        BrokerUnavailable: no broker answers.
    """
    from streamserve.dataflow.planning.topics import topic_specs
    from streamserve.kafka.admin import Admin

    admin = Admin(settings)
    created = admin.create(topic_specs(plan, admin.partitions(), partitions=partitions), partitions=partitions)
    deadline = time.monotonic() + _APPEARS_SECONDS
    while created and not admin.partitions().keys() >= set(created) and time.monotonic() < deadline:
        time.sleep(0.1)
    return created


def _problems(plan: Plan, settings: Settings) -> list[str]:
    from streamserve.dataflow.planning.topics import check_channels, topic_specs
    from streamserve.errors import TopicError
    from streamserve.kafka.admin import Admin

    admin = Admin(settings)
    found = admin.partitions()
    problems = admin.problems(topic_specs(plan, found))
    try:
        check_channels(plan, found, settings.instance, admin.metadata_bytes)
    except TopicError as error:
        problems.append(str(error).rstrip("."))
    return problems


def _fail_on(problems: list[str], app: str, *, told: bool = False) -> None:
    from streamserve.cli.console import fail

    if problems and told:
        raise typer.Exit(1)
    if problems:
        remedy = f"'streamserve topics create {app}' creates what is missing; the partitions of a topic that exists"
        fail(f"{'; '.join(problems)}. {remedy} have to be mended by hand.")
