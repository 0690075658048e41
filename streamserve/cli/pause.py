"""``streamserve pause``: an app's workers rest, and stay what they are."""

from __future__ import annotations

from typing import Annotated

import typer

from streamserve.cli.options import AppName, AsJson, Brokers

Reason = Annotated[str, typer.Option(help="Why: status, logs and /readyz tell it. No personal data.")]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("pause")(pause)


def pause(name: AppName, reason: Reason = "", brokers: Brokers = None, as_json: AsJson = False) -> None:
    """Have all workers of an app commit what is open and process nothing more, until `streamserve resume`.

    They hear it within 2 s, keep their membership, partitions and state, and answer /readyz with 503. Workers that
    start meanwhile rest as well. Timers do not run. What comes in waits in its topics: mind their retention.

    Example: streamserve pause shop:app --reason "features are rebuilt"
    """
    from dataclasses import asdict

    from streamserve.cli.console import print_json
    from streamserve.cli.loading import load_app, load_settings_of
    from streamserve.ops.control import pause as tell

    app = load_app(name)
    state = tell(app.name, load_settings_of(app, bootstrap_servers=brokers), reason=reason)
    if as_json:
        print_json({"app": app.name, **asdict(state)})
    else:
        typer.echo(f"{app.name} is told to pause; 'streamserve resume {name}' lets it go on")
