"""``streamserve transactions``: what is open on Kafka under an app's name, and how to end what holds readers back."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamserve.cli.loading import load_plan
from streamserve.cli.options import AppName, AsJson, Brokers, Yes

if TYPE_CHECKING:
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.ops.transactions import Description, Hanging, Transaction, Transactions

OFFSETS_TOPIC = "__consumer_offsets"

Everyones = Annotated[bool, typer.Option("--all", help="Every id and topic of the cluster, idle ones too.")]
OlderThan = Annotated[
    int,
    typer.Option(min=0, metavar="MINUTES", help="Of hanging ones: those that wrote nothing for so many minutes."),
]
Id = Annotated[str, typer.Argument(metavar="ID", help="The transactional id.", show_default=False)]
WhichId = Annotated[
    str | None,
    typer.Option(
        "--id", metavar="ID", help="The transactional id whose open transaction is to end.", show_default=False
    ),
]
TopicName = Annotated[str | None, typer.Option("--topic", help="The topic in which one hangs.", show_default=False)]
Partition = Annotated[
    int | None, typer.Option("--partition", min=0, help="The partition in which one hangs.", show_default=False)
]

transactions = typer.Typer(no_args_is_help=True, help="Look at open transactions, and end those that hang.")


def register(main: typer.Typer) -> None:
    """Add the commands."""
    main.add_typer(transactions, name="transactions")


@transactions.callback()
def _group() -> None:
    """Look at open transactions, and end those that hang.

    Kafka's own tool is asked, which needs Java and, at first, its jars (56 MB); KAFKA_HOME uses an installed Kafka.
    """


@transactions.command("list")
def list_command(
    name: AppName,
    everyones: Everyones = False,
    older_than: OlderThan = 1,
    brokers: Brokers = None,
    as_json: AsJson = False,
) -> None:
    """List the app's open transactions, and those that hang in its topics or in the offsets' topic.

    A worker under load has one open at most times. One that hangs is known to no coordinator: no time-out ends it.

    Example: streamserve transactions list payments:app
    """
    from streamserve.cli.console import print_json

    plan, asked = _asked(name, brokers)
    found = [one for one in asked.listed() if everyones or (one.is_open and _is_of(plan, one))]
    hanging = asked.hanging(minutes=older_than, topics=None if everyones else _topics(plan))
    if as_json:
        print_json({"transactions": [*map(asdict, found)], "hanging": [*map(asdict, hanging)]})
    else:
        _print(found, hanging)


@transactions.command("describe")
def describe(name: AppName, transactional_id: Id, brokers: Brokers = None, as_json: AsJson = False) -> None:
    """Show what its coordinator knows of a transactional id: since when a transaction is open, and where it writes.

    Example: streamserve transactions describe payments:app payments.host-0.0
    """
    from streamserve.cli.console import print_json, print_table

    _, asked = _asked(name, brokers)
    facts = _facts(asked.describe(transactional_id))
    if as_json:
        print_json(facts)
    else:
        print_table(("transaction", transactional_id), [(key, told) for key, told in facts.items() if told is not None])


@transactions.command("abort")
def abort(
    name: AppName,
    transactional_id: WhichId = None,
    topic: TopicName = None,
    partition: Partition = None,
    older_than: OlderThan = 1,
    yes: Yes = False,
    brokers: Brokers = None,
    as_json: AsJson = False,
) -> None:
    """End a transaction that holds readers back; without --yes only say what would be done.

    With --id, its coordinator ends it, everywhere alike, and its owner, if it still lives, is fenced: a worker begins
    anew by itself. With --topic and --partition, an abort marker ends what hangs there, in that partition alone; what
    its coordinator knows is refused there. Nothing of an aborted transaction becomes visible; workers process its input
    again. Ending one that hangs takes the right to alter the cluster.

    Example: streamserve transactions abort payments:app --id payments.host-0.0 --yes
    """
    from streamserve.cli.console import print_json

    plan, asked = _asked(name, brokers)
    if transactional_id is not None and topic is None and partition is None:
        ended: list[dict[str, Any]] = [_end(plan, asked, transactional_id, yes=yes)]
    elif transactional_id is None and topic is not None and partition is not None:
        ended = _abort_hanging(asked, topic, partition, older_than, yes=yes)
    else:
        raise typer.BadParameter("say which: --id, or --topic with --partition; 'transactions list' has them")
    if as_json:
        print_json({"done": yes, "transactions": ended})


def _end(plan: Plan, asked: Transactions, transactional_id: str, *, yes: bool) -> dict[str, Any]:
    """End the open transaction of an id, unless there is none."""
    from streamserve.cli.console import fail, note

    found = asked.describe(transactional_id)
    transaction = found.transaction
    if not transaction.is_open:
        fail(f"{transactional_id!r} has no open transaction ({transaction.state}): there is nothing to end")
    if not _is_of(plan, transaction):
        note(f"{transactional_id!r} is none of app {plan.app!r}: whoever uses it is fenced")
    if transaction.state == "PrepareCommit":
        note("its commit is decided already: it is waited for, not aborted")
    if yes:
        asked.end(transactional_id)
    partitions = ", ".join(found.partitions) or "nothing"
    note(f"{'ended' if yes else 'would end'}: {transactional_id}, open for {found.duration_ms or 0} ms in {partitions}")
    if not yes:
        note("nothing was done; --yes does it")
    return _facts(found)


def _abort_hanging(asked: Transactions, topic: str, partition: int, minutes: int, *, yes: bool) -> list[dict[str, Any]]:
    """End what hangs in a partition, unless nothing does."""
    from streamserve.cli.console import fail, note

    place = f"{topic}[{partition}]"
    found = asked.hanging_in(topic, partition, minutes=minutes)
    if not found:
        fail(
            f"nothing has hung in {place} for {minutes} min: what is open there is known to its"
            " coordinator, which ends it at its time-out, or at once with --id"
        )
    if not yes:
        note(
            "nothing was done; --yes does it. First make sure that no other partition shows a part of it already: if"
            " the rest was committed, this part is lost to readers"
        )
    for one in found:
        if yes:
            asked.abort(one)
        note(f"{'aborted' if yes else 'would abort'}: producer {one.producer_id} at {place}@{one.start_offset}")
    return [*map(asdict, found)]


def _print(found: list[Transaction], hanging: list[Hanging]) -> None:
    from streamserve.cli.console import note, print_table
    from streamserve.ops.times import iso

    if not found and not hanging:
        typer.echo("no transaction is open, and none hangs")
        return
    if found:
        rows = [(one.transactional_id, one.state, one.producer_id, one.coordinator) for one in found]
        print_table(("transactional id", "state", "producer", "coordinator"), rows)
    if hanging:
        where = [(one.topic, one.partition, one.start_offset, one.producer_id, iso(one.last_ms)) for one in hanging]
        print_table(("topic", "partition", "from offset", "producer", "last record"), where, title="hanging")
        note("readers are held back there until 'streamserve transactions abort --topic ... --partition ...'")


def _facts(found: Description) -> dict[str, Any]:
    from streamserve.ops.times import iso

    return {
        **asdict(found.transaction),
        "epoch": found.epoch,
        "timeout_ms": found.timeout_ms,
        "started": None if found.started_ms is None else iso(found.started_ms),
        "duration_ms": found.duration_ms if found.transaction.is_open else None,
        "partitions": list(found.partitions),
    }


def _is_of(plan: Plan, transaction: Transaction) -> bool:
    return transaction.transactional_id.startswith(f"{plan.app}.")


def _topics(plan: Plan) -> set[str]:
    from streamserve.kafka.replays import replays_topic

    return {*plan.topics, *plan.global_tables, *plan.engine_topics(), replays_topic(plan.app), OFFSETS_TOPIC}


def _asked(name: str, brokers: str | None) -> tuple[Plan, Transactions]:
    from streamserve.ops.transactions import Transactions

    plan, settings = load_plan(name, brokers)
    return plan, Transactions(settings)
