"""``streamserve offsets``: where an app stands in its inputs, and how to let it go on elsewhere."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamserve.cli.completion import complete_topics
from streamserve.cli.loading import load_plan
from streamserve.cli.options import AppName, AsJson, Brokers, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamserve.dataflow.planning.plan import Plan
    from streamserve.kafka.offsets import PartitionOffsets, Target
    from streamserve.ops.offsets import Move

To = Annotated[
    str,
    typer.Option(
        "--to",
        metavar="WHERE",
        help="earliest, latest, committed (where it stands), an offset, or a time: 2026-01-31T12:00 (UTC), or 2h ago.",
        show_default=False,
    ),
]
Topics = Annotated[
    list[str] | None,
    typer.Option(
        "--topic",
        metavar="TOPIC",
        help="Only this input; may be repeated.",
        show_default=False,
        autocompletion=complete_topics,
    ),
]
Partition = Annotated[
    list[int] | None,
    typer.Option("--partition", min=0, help="Only this partition; may be repeated.", show_default=False),
]
Empty = Annotated[
    bool, typer.Option("--empty-state", help="Delete tables, windows, labels and detectors too: as a new app begins.")
]

offsets = typer.Typer(no_args_is_help=True, help="Look at an app's committed offsets, and set them.")


def register(main: typer.Typer) -> None:
    """Add the commands."""
    main.add_typer(offsets, name="offsets")


@offsets.callback()
def _group() -> None:
    """Look at an app's committed offsets, and set them."""


@offsets.command("show")
def show(name: AppName, brokers: Brokers = None, as_json: AsJson = False) -> None:
    """Show where an app stands: what is committed, by whom, its watermark, and how much waits.

    Example: streamserve offsets show payments:app
    """
    from streamserve.cli.console import note, print_json, print_table
    from streamserve.ops.offsets import look

    plan, settings = load_plan(name, brokers)
    found = look(plan, settings)
    facts = [_facts(one) for one in found]
    if as_json:
        print_json(facts)
        return
    columns = ("topic", "partition", "committed", "beginning", "end", "waiting", "watermark", "instance", "state_from")
    told = [{**fact, "committed": _told(fact["committed"])} for fact in facts]
    print_table(columns, [[fact[column] for column in columns] for fact in told])
    for one in found:
        if one.trouble is not None:
            note(f"{one.topic}[{one.partition}]: {one.trouble}")


@offsets.command("reset")
def reset_command(
    name: AppName,
    to: To,
    topics: Topics = None,
    partition: Partition = None,
    empty_state: Empty = False,
    yes: Yes = False,
    brokers: Brokers = None,
    as_json: AsJson = False,
) -> None:
    """Set where an app goes on reading; without --yes only show what would change. All workers have to be stopped.

    State does not go back with the offsets: what is read again is counted again in tables, labels, detectors and open
    windows, and its outputs are written again; windows that have closed stay closed. What is passed over is never
    processed. With --empty-state, for all partitions only, changelogs are deleted and made anew: with --to earliest
    that is a run from the beginning, whose outputs stand behind the old ones. Topics that the app writes for itself
    (regrouped ones) stay where they are unless --topic names them, since their sources fill them again.

    Example: streamserve offsets reset payments:app --to 2026-01-31T12:00 --yes
    """
    from streamserve.cli.console import print_json
    from streamserve.ops.offsets import plan_reset, reset

    if empty_state and (topics or partition):
        raise typer.BadParameter(
            "empties the state of all partitions: leave --topic and --partition out", param_hint="--empty-state"
        )
    plan, settings = load_plan(name, brokers)
    moves = plan_reset(plan, settings, _target(to), topics=topics or (), partitions=partition or (), empty=empty_state)
    if yes:
        reset(plan, settings, moves, empty=empty_state)
    if as_json:
        print_json({"done": yes, "partitions": [_moved(move) for move in moves]})
        return
    _print(moves, done=yes)
    _tell(plan, moves, empty=empty_state, done=yes)


def _print(moves: Sequence[Move], *, done: bool) -> None:
    from streamserve.cli.console import print_table

    columns = ("topic", "partition", "committed", "to", "again", "passed over")
    rows = [
        (
            *(move.at.place),
            _told(move.at.committed),
            move.to,
            max(0, move.again),
            max(0, -move.again),
        )
        for move in moves
    ]
    print_table(columns, rows, title="set" if done else "would be set")


def _told(committed: int | None) -> object:
    return "never" if committed is None else committed


def _tell(plan: Plan, moves: Sequence[Move], *, empty: bool, done: bool) -> None:
    """Say what it means for state, and for readers of the outputs."""
    from streamserve.cli.console import note
    from streamserve.ops.offsets import changelogs_of

    again, passed = sum(max(0, move.again) for move in moves), sum(max(0, -move.again) for move in moves)
    state = ", ".join(changelogs_of(plan))
    if again:
        note(f"up to {again:,} records are processed again: their outputs come twice in the output topics")
    if passed:
        note(f"up to {passed:,} records are never processed")
    if state and empty:
        note(f"state {'was' if done else 'would be'} deleted: {state}")
    elif state and (again or passed):
        note(f"state stays as it is ({state}): what is read again counts again; --empty-state begins without it")
    if not done:
        note("nothing was changed; --yes does it")


def _facts(one: PartitionOffsets) -> dict[str, Any]:
    from streamserve.ops.times import iso

    mark = one.mark
    return {
        "topic": one.topic,
        "partition": one.partition,
        "committed": one.committed,
        "beginning": one.beginning,
        "end": one.end,
        "waiting": one.waiting,
        "watermark": None if mark is None or mark.watermark_ms is None else iso(mark.watermark_ms),
        "instance": None if mark is None else mark.instance,
        "state_from": None if mark is None else mark.state_from,
    }


def _moved(move: Move) -> dict[str, Any]:
    topic, partition = move.at.place
    return {"topic": topic, "partition": partition, "committed": move.at.committed, "to": move.to, "again": move.again}


def _target(text: str) -> Target:
    """Return what ``--to`` means.

    >>> _target("latest"), _target("17")
    ('latest', 17)

    Raises:
        typer.BadParameter: it means nothing.
    """
    from streamserve.cli.times import instant

    if text == "earliest" or text == "latest" or text == "committed":  # noqa: PLR1714 - so the types are known
        return text
    with suppress(ValueError):
        offset = int(text)
        if offset >= 0:
            return offset
    return instant(text, hint="--to")
