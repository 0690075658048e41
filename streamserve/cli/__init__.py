"""The command line: one module per command group, each with ``register(main)``.

Exit codes: 0 fine, 1 failed, 2 wrong usage or, from ``run``, wrong configuration. What a command needs is imported when
it runs, so that help and completion answer at once.
"""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from itertools import chain
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from streamserve.errors import StreamserveError

__all__ = ["main"]

_PANELS = {
    "To begin": ("demo", "new", "broker"),
    "An app": ("run", "check", "doctor", "graph", "call"),
    "What flows": ("topics", "send", "read", "tables"),
    "On call": ("status", "pause", "resume", "lag", "offsets", "dead_letters", "transactions"),
    "Proof": ("verify", "bench", "size"),
}
"""The modules, under the headings and in the order of the help."""
_APP = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")
"""What names an app, unlike a broker's address, whose last part is a number."""
_GROUPS = tuple(chain.from_iterable(_PANELS.values()))


class _Commands(TyperGroup):
    """Tells an error of ours as one message on standard error, with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        given: list[str] = ctx.args
        app = next(filter(_APP.fullmatch, given), None)
        try:
            return super().invoke(ctx)
        except StreamserveError as error:
            from streamserve.cli.console import fail

            fail(error, app=app)

    def list_commands(self, ctx: Any) -> list[str]:
        del ctx
        return [name for name in (group.replace("_", "-") for group in _GROUPS) if name in self.commands]


main = typer.Typer(
    name="streamserve",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"streamserve {version('streamserve')}")
        raise typer.Exit


@main.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Show the version and exit.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Streaming inference on Kafka: agents, Feast features, ONNX models, exactly once.

    MODULE:APP names an app by its module, importable from here, and its name there. Every command has help of its own.

    Example: streamserve run topologies.flights.app:app --brokers 127.0.0.1:9092
    """
    del version


def _register(name: str, panel: str) -> None:
    """Add the commands of a module under a heading."""
    before = [*main.registered_commands, *main.registered_groups]
    import_module(f"streamserve.cli.{name}").register(main)
    for added in [*main.registered_commands, *main.registered_groups]:
        if added not in before:
            added.rich_help_panel = panel


def _reflow(group: typer.Typer) -> None:
    """Let help fill the terminal: typer keeps a docstring's lines, and breaks each again."""
    for command in group.registered_commands:
        paragraphs = (inspect.getdoc(command.callback) or "").split("\n\n")
        command.help = "\n\n".join(" ".join(each.split()) for each in paragraphs)
    for inner in group.registered_groups:
        if inner.typer_instance is not None:
            _reflow(inner.typer_instance)


for _panel, _names in _PANELS.items():
    for _name in _names:
        _register(_name, _panel)
_reflow(main)
