"""``streamserve status``: what an app is told, and who works for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import typer

from streamserve.cli.options import AppName, AsJson, Brokers

if TYPE_CHECKING:
    from streamserve.ops.control import AppStatus


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("status")(status)


def status(name: AppName, brokers: Brokers = None, as_json: AsJson = False) -> None:
    """Show whether an app is told to pause, since when and why, and which workers are members of its group.

    A worker that was stopped or killed is a member until its session time-out (10 s by default) has passed. What each
    does is told by its own /readyz; `streamserve lag` shows what waits.

    Example: streamserve status shop:app
    """
    from dataclasses import asdict

    from streamserve.cli.console import print_json
    from streamserve.cli.loading import load_app, load_settings_of
    from streamserve.ops.control import status as look

    app = load_app(name)
    found = look(app.name, load_settings_of(app, bootstrap_servers=brokers))
    if as_json:
        print_json({"app": app.name, **asdict(found.state), "workers": found.members})
    else:
        typer.echo(_told(app.name, found))


def _told(app: str, found: AppStatus) -> str:
    state = found.state
    reason = f" ({state.reason})" if state.reason else ""
    told = f"paused since {state.since}{reason}" if state.paused else "told to run"
    return f"{app} is {told}; workers: {', '.join(found.members) or 'none'}"
