"""The page for those who come from other engines: every name on our side exists, every name of Faust's is told."""

from __future__ import annotations

import builtins
import inspect
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

import streamserve
from streamserve import App, Source, Stream, Table, Topic, aggregates
from streamserve.cli import main
from streamserve.settings import Settings
from streamserve.testing import Harness
from tests import readme
from topologies.coming_from.compare import faust_program

HERE = readme.ROOT / "topologies" / "coming_from"
PAGE = (HERE / "README.md").read_text(encoding="utf-8")
CLASSES: tuple[type, ...] = (App, Source, Stream, Table, Topic)
SERVED = {"/metrics", "/healthz", "/readyz", "/tables"}
"""What a worker answers at."""
OTHERS = {
    *("del table[key]", "in", "if", "murmur2", "record.key", "record.value", "async for event in stream", "yield"),
    *("stream: Stream[T]", "(parameter)", "msgspec.Struct", "STREAMSERVE_*", "app.settings", "frozenset", "words.py"),
    *("max.task.idle.ms", "Record", "Model", "WrongPartition", "on_leader=True", "expires="),
}
"""Words of Python, Kafka and this page."""

FAUST_NAMES = """
App topic agent channel Table GlobalTable SetTable timer crontab task page command stream Record Event Monitor
items events take take_events take_with_timestamp noack_take enumerate through echo group_by filter derive_topic combine
join left_join inner_join outer_join on_merge noack ack forward ask cast map kvmap add_sink send send_soon current_event
tumbling hopping now current delta relative_to_stream on_key_set on_key_del discover main on_started on_before_shutdown
service is_leader table_route topic_route cache web LiveCheck Schema Codec test_context clone throw commit trace
processing_guarantee broker_commit_interval topic_partitions consumer_group_instance_id web_port datadir worker reset
"""
"""Public names of faust-streaming 0.15: of its app, streams, agents, channels, tables, command line and settings."""


def rows() -> list[tuple[str, str]]:
    """The cells of each row of the tables: theirs and ours."""
    found = [line.strip("|").split(" | ") for line in PAGE.splitlines() if line.startswith("| ")]
    return [(cells[0], cells[-1]) for cells in found if "---" not in cells[0]]


def named(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def parameters() -> set[str]:
    """The names of what the public classes' and functions' parameters are called."""
    functions: list[Callable[..., Any]] = [
        getattr(streamserve, name) for name in streamserve.__all__ if name[0].islower()
    ]
    methods = [value for owner in (*CLASSES, Harness) for _, value in inspect.getmembers(owner, inspect.isfunction)]
    callables = [item for item in (*functions, *methods) if callable(item)]
    return {name for item in callables for name in inspect.signature(item).parameters}


def command_exists(words: list[str]) -> bool:
    group: Any = typer.main.get_command(main)
    for word in words:
        if word.startswith("-"):
            return any(word in parameter.opts for parameter in group.params)
        if not (isinstance(group, TyperGroup) and word in group.commands):
            return False
        group = group.commands[word]
    return True


def exists(name: str) -> bool:
    """Whether ``name`` is one of ours, of Python's, or a literal."""
    if name in OTHERS or name in SERVED or re.fullmatch(r"\"[a-z]+\"|--[a-z]+", name):
        return True
    if found := re.fullmatch(r"streamserve (.+)", name):
        return command_exists(found[1].split())
    if found := re.match(r"(app|App|Source|Stream|Table|Topic)\.(\w+)", name):
        return hasattr(App if found[1] == "app" else getattr(streamserve, found[1]), found[2])
    if found := re.match(r"(\w+)=", name):
        return found[1] in parameters()
    known = {*streamserve.__all__, *vars(aggregates), *Settings.model_fields, *vars(builtins), "testing.Harness"}
    return name.partition("(")[0] in known


def test_every_name_on_our_side_exists() -> None:
    ours = {name for _, cell in rows() for name in named(cell)}
    assert sorted(name for name in ours if not exists(name)) == []
    assert len(ours) > 60


@pytest.mark.parametrize("name", FAUST_NAMES.split())
def test_every_public_name_of_faust_is_told(name: str) -> None:
    theirs = " ".join(name for cell, _ in rows() for name in named(cell))
    assert re.search(rf"\b{name}\b", theirs)


def test_a_name_that_does_not_exist_would_be_found() -> None:
    wrong = ["app.page", "Stream.enumerate", "streamserve worker", "forwarded=", "Channel", "streamserve run --threads"]
    assert [name for name in wrong if exists(name)] == []


def test_the_ported_app_stands_on_the_page_as_it_runs() -> None:
    shown = [block.text for block in readme.blocks(PAGE, "python")]
    assert shown == [faust_program(), (HERE / "words.py").read_text(encoding="utf-8")]
    compile(faust_program(), "faust_words.py", "exec")


def test_links_lead_somewhere_and_the_readme_leads_here() -> None:
    assert [link for link in readme.links(PAGE) if not (HERE / link).exists()] == []
    assert str(HERE.relative_to(readme.ROOT) / "README.md") in readme.read("README.md")


def test_fausts_environment_is_pinned() -> None:
    pinned = Path(HERE / "faust-requirements.txt").read_text().split()
    assert all(re.fullmatch(r"[\w.-]+==[\w.]+", line) for line in pinned)
    assert any(line.startswith("faust-streaming==0.15.") for line in pinned)
