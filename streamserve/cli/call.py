"""``streamserve call``: the commands that an app declares for itself."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any

import typer

from streamserve.cli.options import AppName, Brokers

if TYPE_CHECKING:
    from streamserve.app import App
    from streamserve.settings import Settings


def register(main: typer.Typer) -> None:
    """Add the command; what follows ``MODULE:APP`` is the app's business."""
    passed_on = {"allow_extra_args": True, "ignore_unknown_options": True, "allow_interspersed_args": False}
    main.command("call", context_settings=passed_on)(call)


def call(context: typer.Context, name: AppName, brokers: Brokers = None) -> None:
    """Run a command of an app's own, declared with @app.command(); without its name, list them.

    Options of ours come before MODULE:APP. What the command sends is written once it has ended.

    Example: streamserve call shop:app forget-user u1 --dry-run
    """
    from streamserve.cli.loading import load_app, load_settings_of

    app = load_app(name)
    if not app.commands:
        raise typer.BadParameter(f"{name} declares no commands: write @app.command() over a function of its module")
    commands = typer.main.get_command(_commands_of(app, load_settings_of(app, bootstrap_servers=brokers)))
    code = commands.main(context.args or ["--help"], f"streamserve call {name}", standalone_mode=False)
    raise typer.Exit(code or 0)


def _commands_of(app: App, settings: Settings) -> typer.Typer:
    """Return the app's commands as a command line of their own."""
    commands = typer.Typer(
        callback=_no_options, context_settings={"help_option_names": ["-h", "--help"]}, add_completion=False
    )
    for name, function in app.commands.items():
        commands.command(name)(_writing(app, settings, function))
    return commands


def _no_options() -> None:
    """Run commands of this app."""


def _writing(app: App, settings: Settings, function: Callable[..., Any]) -> Callable[..., None]:
    """Return what runs ``function`` and writes what it sent."""

    @wraps(function)
    def run(*args: Any, **options: Any) -> None:
        from streamserve.dataflow.running.commands import run_command
        from streamserve.kafka.sending import send_emissions

        if emissions := run_command(app.plan(), function, *args, **options):
            send_emissions(settings, emissions)

    return run
