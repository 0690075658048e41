"""``streamserve read``: the records of an app's topics."""

from __future__ import annotations

from contextlib import suppress
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from streamserve.cli.completion import complete_readable
from streamserve.cli.loading import load_plan
from streamserve.cli.options import AppName, AsJson, Brokers
from streamserve.cli.times import instant

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from streamserve.cli.shown import ShownRecord
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.kafka.browsing import Start, TopicBrowser

_SHOWN = 20
"""How many records a table has that nobody gave a limit."""

_MADE_BY = {"drift": "app.monitor", "performance": "app.labels", "features": "app.features(..., log=1)"}
"""What an app needs to have one of the engine's topics."""

TopicName = Annotated[
    str,
    typer.Argument(
        metavar="TOPIC",
        help="One of the app's topics, or of the engine's: dead-letters, drift, performance, features ...",
        show_default=False,
        autocompletion=complete_readable,
    ),
]
From = Annotated[
    str,
    typer.Option(
        "--from",
        metavar="WHERE",
        help="Where to begin in each partition: beginning, end, an offset, -10 for ten offsets before the end, a time"
        " (2026-01-31T12:00, UTC), or 15m for a quarter of an hour ago.",
    ),
]
Limit = Annotated[
    int | None,
    typer.Option(
        min=1,
        help=f"Show at most so many records (default: {_SHOWN}; all with --follow or --json).",
        show_default=False,
    ),
]
Key = Annotated[str | None, typer.Option(help="Show the records of this key only.", show_default=False)]
Follow = Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes, until Ctrl-C.")]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("read")(read)


def read(
    name: AppName,
    topic: TopicName,
    start: From = "beginning",
    limit: Limit = None,
    key: Key = None,
    follow: Follow = False,
    brokers: Brokers = None,
    as_json: AsJson = False,
) -> None:
    """Show records of a topic as a read_committed reader sees them, decoded; whole values, personal data included.

    Partitions come interleaved, each in order. Reading disturbs nobody: nothing is committed.

    Example: streamserve read shop:app dead-letters --from 1h --follow
    """
    from streamserve.cli.console import note
    from streamserve.cli.nothing import why_nothing
    from streamserve.kafka.browsing import browsing

    where = _start(start)
    plan, settings = load_plan(name, brokers)
    topic = _topic(plan, topic)
    with browsing(plan.app, topic, settings) as browser:
        records = _records(plan, topic, browser, where, key, follow=follow)
        if follow or as_json:
            with suppress(KeyboardInterrupt):
                _print_lines(islice(records, limit), as_json=as_json)
        else:
            narrowed = key is not None or start != "beginning"
            if not _print_table(records, limit or _SHOWN, dead=topic == plan.dead_letter_topic):
                note("nothing that was asked for" if narrowed else why_nothing(name, plan, topic, settings, brokers))
        _tell_of_transactions(browser, topic)


def _topic(plan: Plan, name: str) -> str:
    """Return the topic's full name; the app's may be left out before the engine's.

    Raises:
        typer.BadParameter: the app has no such topic.
    """
    known = dict.fromkeys([*plan.topics, *plan.global_tables, *plan.engine_topics()])
    for full in (name, f"{plan.app}-{name}"):
        if full in known:
            return full
    made_by = _MADE_BY.get(name.removeprefix(f"{plan.app}-"))
    hint = f" ({made_by} makes one)" if made_by else ""
    there_is = ", ".join(known)
    raise typer.BadParameter(f"the app has no topic {name!r}{hint}; there is {there_is}", param_hint="TOPIC")


def _start(text: str) -> Start:
    """Return what ``--from`` means.

    >>> _start("-10"), _start("2026-01-31T12:00")
    (-10, datetime.datetime(2026, 1, 31, 12, 0, tzinfo=datetime.timezone.utc))

    Raises:
        typer.BadParameter: it means nothing.
    """
    if text in {"beginning", "end"}:
        return "beginning" if text == "beginning" else "end"
    with suppress(ValueError):
        return int(text)
    try:
        return instant(text, hint="--from")
    except typer.BadParameter:
        places = "beginning, end, an offset, -10, 2026-01-31T12:00 or 15m"
        raise typer.BadParameter(f"{text!r} is no place to begin: write {places}", param_hint="--from") from None


def _records(
    plan: Plan, topic: str, browser: TopicBrowser, start: Start, key: str | None, *, follow: bool
) -> Iterator[ShownRecord]:
    """Yield what is to be shown."""
    from streamserve.cli.shown import shown, shown_state

    tables = {plan.changelog_of(name) for name in plan.tables}
    show = shown_state if topic in tables else shown
    for message in browser.read(start, follow=follow):
        record = show(message)
        if key is None or record.key == key:
            yield record


def _print_lines(records: Iterable[ShownRecord], *, as_json: bool) -> None:
    """Print each record when it comes."""
    from streamserve.cli.console import print_json

    for record in records:
        if as_json:
            print_json(record.as_data())
        else:
            place, key = f"[{record.partition}]@{record.offset}", "" if record.key is None else f" {record.key}"
            typer.echo(f"{record.time} {place}{key} {record.text}")


def _print_table(records: Iterator[ShownRecord], limit: int, *, dead: bool) -> bool:
    """Print up to ``limit`` records as a table, and tell of others; return whether there were any."""
    from streamserve.cli.console import note, print_table

    found = list(islice(records, limit))
    if not found:
        return False
    print_table(found[0].columns(dead=dead), [each.row(dead=dead) for each in found])
    if next(records, None) is not None:
        note(f"there are more; --limit shows more than {limit:,}, --from -{limit} the last of each partition")
    return True


def _tell_of_transactions(browser: TopicBrowser, topic: str) -> None:
    """Say so where an open transaction holds records back."""
    from streamserve.cli.console import note

    if browser.is_held_back:
        note(f"a transaction is open in {topic!r}: what it writes, and all behind it, is not shown until it has ended")
