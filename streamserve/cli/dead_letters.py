"""``streamserve dead-letters``: what was set aside, and how to send it again."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamserve.cli.loading import load_plan
from streamserve.cli.options import AppName, AsJson, Brokers, Yes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from streamserve.dataflow.planning.plan import Plan
    from streamserve.ops.dead_letters import DeadLetter, Edit, Outcome, Wanted
    from streamserve.records import Coordinates
    from streamserve.settings import Settings

Reason = Annotated[
    str | None,
    typer.Option(help="Those of this reason only: decode, agent, rejected, model ...", show_default=False),
]
Step = Annotated[str | None, typer.Option(help="Those of this step only.", show_default=False)]
Since = Annotated[
    str | None,
    typer.Option(
        metavar="TIME", help="Those set aside since 2026-01-31T12:00 (UTC), or 2h ago and later.", show_default=False
    ),
]
Limit = Annotated[int, typer.Option(min=1, help="Show at most so many, the newest.")]
Most = Annotated[int | None, typer.Option("--limit", min=1, help="At most so many, the oldest.", show_default=False)]
Place = Annotated[
    str,
    typer.Argument(metavar="PARTITION@OFFSET", help="Where it stands in the dead-letter topic.", show_default=False),
]
Places = Annotated[
    list[str] | None,
    typer.Argument(metavar="PARTITION@OFFSET", help="Which, by their places, as list shows them."),
]
Payload = Annotated[bool, typer.Option("--payload", help="Show key and value too: they may hold personal data.")]
Everything = Annotated[bool, typer.Option("--all", help="All dead letters that were not replayed yet.")]
Assignments = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="FIELD=VALUE",
        help="Set a field of the JSON payload, a.b for one inside; may be repeated.",
        show_default=False,
    ),
]
ByHand = Annotated[bool, typer.Option("--edit", help="Change the payload of the one that is meant in $EDITOR.")]
Again = Annotated[bool, typer.Option("--again", help="Also those that were replayed before: twice on purpose.")]

_SHOWN = 50
"""How many lines tell of a replay."""

_PLACE = re.compile(r"(?:.*\[)?(\d+)\]?@(\d+)")

dead_letters = typer.Typer(no_args_is_help=True, help="Look at an app's dead letters, and send them again.")


def register(main: typer.Typer) -> None:
    """Add the commands."""
    main.add_typer(dead_letters, name="dead-letters")


@dead_letters.callback()
def _group() -> None:
    """Look at an app's dead letters, and send them again."""


@dead_letters.command("list")
def list_command(
    name: AppName,
    reason: Reason = None,
    step: Step = None,
    since: Since = None,
    limit: Limit = 50,
    brokers: Brokers = None,
    as_json: AsJson = False,
) -> None:
    """List dead letters: why each was set aside, and where its record came from. Payloads are not shown.

    Example: streamserve dead-letters list payments:app --reason decode --since 2h
    """
    from streamserve.cli.console import note, print_json, print_table
    from streamserve.ops.dead_letters import dead_letters, newest

    plan, settings = load_plan(name, brokers)
    letters, count = newest(dead_letters(plan, settings, _wanted(reason, step, since)), limit)
    facts = [letter.facts() for letter in letters]
    if as_json:
        print_json({"dead_letters": count, "shown": facts})
        return
    if not letters:
        typer.echo("no dead letters")
        return
    columns = ("place", "time", "step", "reason", "message", "source", "replays")
    rows = [
        (_placed(one.at), fact["time"], one.step, one.reason, one.message, one.came_from, one.replays)
        for one, fact in zip(letters, facts, strict=True)
    ]
    print_table(columns, rows, title=f"{plan.dead_letter_topic}: {count:,}")
    if count > len(letters):
        note(f"these are the newest {len(letters):,}; --limit shows more, --since, --reason and --step choose")


@dead_letters.command("show")
def show(
    name: AppName, place: Place, payload: Payload = False, brokers: Brokers = None, as_json: AsJson = False
) -> None:
    """Show one dead letter: its error, its source, and the record's own headers.

    Example: streamserve dead-letters show payments:app 0@17 --payload
    """
    from streamserve.cli.console import fail, print_json, print_table
    from streamserve.ops.dead_letters import Wanted, dead_letters

    plan, settings = load_plan(name, brokers)
    partition, offset = _place(place)
    found = next(dead_letters(plan, settings, Wanted(places={(partition, offset)})), None)
    if found is None:
        fail(
            f"no dead letter at {plan.dead_letter_topic}[{partition}]@{offset}: 'streamserve dead-letters list' has all"
        )
    told = _told(found, payload=payload)
    if as_json:
        print_json(told)
    else:
        told["source"] = found.came_from
        print_table(("dead letter", str(found.at)), [(key, told[key]) for key in told if told[key] not in (None, "")])


@dead_letters.command("replay")
def replay_command(
    name: AppName,
    places: Places = None,
    reason: Reason = None,
    step: Step = None,
    since: Since = None,
    everything: Everything = False,
    limit: Most = None,
    assignments: Assignments = None,
    by_hand: ByHand = False,
    again: Again = False,
    yes: Yes = False,
    brokers: Brokers = None,
    as_json: AsJson = False,
) -> None:
    """Write the records of dead letters back to their topics, each once; without --yes only say what would be.

    Key, headers, time and partition are the original's; headers streamserve-replayed-from and streamserve-replays tell
    of the replay. What was replayed before is refused, whoever did it: the record and a mark of its replay, in the
    topic <app>-replays, are committed together. Payloads that the topic's type would refuse again are left out: mend
    them with --set or --edit, which choose the key anew too. The exit code is 1 where nothing was replayed, or
    something was left out that had not been replayed before.

    Example: streamserve dead-letters replay payments:app --reason decode --set user=ann --yes
    """
    from itertools import islice

    from streamserve.cli.console import print_json
    from streamserve.ops.dead_letters import dead_letters, replay

    plan, settings = load_plan(name, brokers)
    wanted = _wanted(reason, step, since, places)
    if wanted.is_everything and not everything:
        raise typer.BadParameter("say which: by PARTITION@OFFSET, --reason, --step, --since or --all")
    edit = _edit(plan, settings, wanted, assignments, by_hand=by_hand)
    letters = islice(dead_letters(plan, settings, wanted), limit)
    outcome = replay(plan, settings, letters, edit=edit, again=again, dry_run=not yes)
    if as_json:
        print_json(_data(outcome, written=yes))
    else:
        _print(outcome, written=yes)
    if outcome.left_out and not (outcome.replays and all(left.was_replayed for left in outcome.left_out)):
        raise typer.Exit(1)


def _edit(
    plan: Plan, settings: Settings, wanted: Wanted, assignments: Sequence[str] | None, *, by_hand: bool
) -> Edit | None:
    """Return what changes payloads; an editor is opened here, before anything is read for the replay.

    Raises:
        typer.BadParameter: both ways are asked for, or an editor for more than one dead letter.
    """
    from itertools import islice

    from streamserve.ops.dead_letters import dead_letters, edit_by_hand, setting

    if not by_hand:
        return setting(assignments) if assignments else None
    if assignments:
        raise typer.BadParameter("takes the place of --set: give one of them", param_hint="--edit")
    meant = list(islice(dead_letters(plan, settings, wanted), 2))
    if len(meant) != 1:
        how_many = "several dead letters are" if meant else "none is"
        raise typer.BadParameter(f"changes one dead letter, and {how_many} meant: name one", param_hint="--edit")
    edited = edit_by_hand(meant[0].value)
    return lambda _: edited


def _print(outcome: Outcome, *, written: bool) -> None:
    from streamserve.cli.console import note, print_table

    replays, left_out = outcome.replays, outcome.left_out
    rows = [
        (str(one.letter), one.record.topic, _home(one.record.partition), one.mark.times) for one in replays[:_SHOWN]
    ]
    verb = "replayed" if written else "would be replayed"
    if rows:
        print_table(("dead letter", "to", "partition", "times"), rows, title=f"{len(replays):,} {verb}")
    else:
        typer.echo("nothing is to be replayed")
    for left in left_out[:_SHOWN]:
        note(f"left out: {left.letter.at} {left.why}")
    hidden = len(replays) - len(rows) + max(0, len(left_out) - _SHOWN)
    if hidden:
        note(f"{len(left_out):,} were left out; {hidden:,} lines are not shown, --json has them all")
    if not written and rows:
        note("nothing was written; --yes does it")


def _home(partition: int | None) -> object:
    return "by its key" if partition is None else partition


def _data(outcome: Outcome, *, written: bool) -> dict[str, Any]:
    replayed = [
        {
            "dead_letter": str(one.letter),
            "to": one.record.topic,
            "partition": one.record.partition,
            "times": one.mark.times,
        }
        for one in outcome.replays
    ]
    left = [
        {"dead_letter": str(one.letter.at), "why": one.why, "was_replayed": one.was_replayed}
        for one in outcome.left_out
    ]
    return {"written": written, "replayed": replayed, "left_out": left}


def _told(letter: DeadLetter, *, payload: bool) -> dict[str, Any]:
    from streamserve.ops.dead_letters import shown_payload

    told = letter.facts()
    told["size"] = None if letter.value is None else len(letter.value)
    if payload:
        told["headers"] = {name: shown_payload(value) for name, value in letter.headers}
        told["key"], told["value"] = shown_payload(letter.key), shown_payload(letter.value)
    else:
        told["headers"] = [name for name, _ in letter.headers]
    return told


def _wanted(reason: str | None, step: str | None, since: str | None, places: Sequence[str] | None = None) -> Wanted:
    from streamserve.cli.times import instant
    from streamserve.ops.dead_letters import Wanted

    when = None if since is None else instant(since, hint="--since")
    return Wanted(reason, step, when, frozenset(map(_place, places or ())))


def _placed(at: Coordinates) -> str:
    """Return a place as it may be typed."""
    return f"{at.partition}@{at.offset}"


def _place(text: str) -> tuple[int, int]:
    """Return a partition and an offset.

    >>> _place("0@17"), _place("shop-dead-letters[3]@5")
    ((0, 17), (3, 5))
    """
    found = _PLACE.fullmatch(text)
    if found is None:
        raise typer.BadParameter(f"{text!r} is no place of a dead letter: write PARTITION@OFFSET, for example 0@17")
    return int(found[1]), int(found[2])
