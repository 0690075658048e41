"""``streamserve tables``: what an app's tables hold, read from their changelogs."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamserve.cli.completion import complete_tables
from streamserve.cli.loading import load_plan
from streamserve.cli.options import AppName, AsJson, Brokers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from streamserve.dataflow.planning.nodes import TableNode
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.settings import Settings

TableName = Annotated[
    str,
    typer.Argument(
        metavar="TABLE", help="The table's name in the app.", show_default=False, autocompletion=complete_tables
    ),
]
Key = Annotated[str | None, typer.Option("--key", help="Show the value of this key only.", show_default=False)]
Limit = Annotated[int, typer.Option("--limit", min=1, help="Show at most so many keys.")]

tables = typer.Typer(no_args_is_help=True, help="Look into the tables of an app.")


def register(main: typer.Typer) -> None:
    """Add the commands."""
    main.add_typer(tables, name="tables")


@tables.callback()
def _group() -> None:
    """Look into the tables of an app."""


@tables.command("show")
def show(
    name: AppName,
    table: TableName,
    key: Key = None,
    limit: Limit = 20,
    brokers: Brokers = None,
    as_json: AsJson = False,
) -> None:
    """Show what a table holds, in byte order of keys, as it is committed now; the app may run or not.

    The whole changelog is read. A value whose time to live is over shows until it is deleted. The exit code is 1 where
    the key has no value.

    Example: streamserve tables show payments:app spent --key ann
    """
    from streamserve.cli.console import fail, note, print_json, print_table

    plan, settings = load_plan(name, brokers)
    if table not in plan.tables:
        there_are = ", ".join(plan.tables) or "none"
        raise typer.BadParameter(f"the app has no table {table!r}; tables: {there_are}", param_hint="TABLE")
    found = _read(plan, plan.tables[table], settings, key)
    if key is not None and not found:
        fail(f"table {table!r} has no value for this key")
    shown = dict(sorted(found.items())[:limit])
    if as_json:
        print_json({"table": table, "keys": len(found), "values": _with_text(shown)})
        return
    print_table(["key", "value"], [(text, json.dumps(value)) for text, value in _with_text(shown).items()])
    if len(found) > limit:
        note(f"{len(found):,} keys; --limit shows more than {limit:,}, --key one of them")


def _with_text(values: Mapping[bytes, bytes]) -> dict[str, Any]:
    return {key.decode(errors="backslashreplace"): json.loads(value) for key, value in values.items()}


def _read(plan: Plan, node: TableNode, settings: Settings, key: str | None) -> dict[bytes, bytes]:
    """Return the table's encoded values by key, of one ``key`` or of all, behind a progress bar."""
    from streamserve.cli.console import progress_bar
    from streamserve.errors import TopicError
    from streamserve.kafka.admin import Admin
    from streamserve.kafka.calls import Calls
    from streamserve.kafka.changelog import ChangelogReader
    from streamserve.state.format import PAYLOAD, check_versions, to_record_key, to_user_key

    topic = plan.changelog_of(node.name)
    partitions = Admin(settings).partitions().get(topic)
    if partitions is None:
        raise TopicError(f"no topic {topic!r}: 'streamserve topics create MODULE:APP' creates what is missing")
    wanted = None if key is None else to_record_key(key.encode())
    records: dict[bytes, bytes] = {}
    reader = ChangelogReader(plan.app, settings, Calls())
    try:
        reader.request({(topic, number): 0 for number in range(partitions)})
        with progress_bar(f"reading {topic}") as tell:
            while (columns := reader.step()) is not None:
                for _, keys, values in columns:
                    check_versions(node.name, values)
                    _fold(records, keys, values, wanted)
                tell(*reader.progress())
    finally:
        reader.close()
    return {to_user_key(record_key): value[PAYLOAD:] for record_key, value in records.items()}


def _fold(
    records: dict[bytes, bytes], keys: Sequence[bytes], values: Sequence[bytes | None], wanted: bytes | None
) -> None:
    """Take changelog records into ``records``: those of values, and of them only ``wanted`` if it is given."""
    from streamserve.state.format import is_value_key

    for key, value in zip(keys, values, strict=True):
        if not is_value_key(key) or wanted not in (None, key):
            continue
        if value is None:
            records.pop(key, None)
        else:
            records[key] = value
