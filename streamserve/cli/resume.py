"""``streamserve resume``: a paused app goes on."""

from __future__ import annotations

import typer

from streamserve.cli.options import AppName, AsJson, Brokers


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("resume")(resume)


def resume(name: AppName, brokers: Brokers = None, as_json: AsJson = False) -> None:
    """Have the workers of a paused app go on where each stopped; one that is not paused is left as it is.

    Example: streamserve resume shop:app
    """
    from dataclasses import asdict

    from streamserve.cli.console import print_json
    from streamserve.cli.loading import load_app, load_settings_of
    from streamserve.ops.control import resume as tell

    app = load_app(name)
    state = tell(app.name, load_settings_of(app, bootstrap_servers=brokers))
    if as_json:
        print_json({"app": app.name, **asdict(state)})
    else:
        typer.echo(f"{app.name} is told to go on")
