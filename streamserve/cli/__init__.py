"""The command line: one module per command group, each with ``register(main)``.

Exit codes: 0 fine, 1 failed, 2 wrong usage or, from ``run``, wrong configuration. What a command needs is imported when
it runs, so that help and completion answer at once.
"""

from __future__ import annotations

import os
from importlib import import_module
from importlib.util import find_spec
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from streamserve.errors import StreamserveError

__all__ = ["main"]

_GROUPS = (
    *("demo", "new", "broker", "run", "check", "doctor", "graph"),
    *(
        "topics",
        "tables",
        "send",
        "read",
        "call",
        "status",
        "pause",
        "resume",
        "lag",
        "offsets",
        "dead_letters",
        "transactions",
        "verify",
        "bench",
    ),
)
"""The modules, in the order of their help."""


class _Commands(TyperGroup):
    """Tells an error of ours as one message on standard error, with exit code 1."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except StreamserveError as error:
            from streamserve.cli.console import fail

            fail(error)

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

    Example: streamserve run topologies.flights.app:app --brokers 127.0.0.1:9092
    """
    del version
    # Each worker has a page of its own. Importing Feast sets this for all processes started after it, and their
    # metrics would then come twice, once for each process that wrote to the folder.
    for name in ("PROMETHEUS_MULTIPROC_DIR", "PROMETHEUS_MULTIPROCESS_DIR"):
        os.environ.pop(name, None)


for _name in _GROUPS:
    if find_spec(f"streamserve.cli.{_name}") is not None:
        import_module(f"streamserve.cli.{_name}").register(main)
