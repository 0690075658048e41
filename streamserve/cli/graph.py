"""``streamserve graph``: what an app is made of."""

from __future__ import annotations

import json
from typing import Annotated, Literal

import typer

from streamserve.cli.options import AppName, AsJson

Format = Annotated[
    Literal["text", "mermaid", "json"],
    typer.Option("--format", "-f", help="An outline, a flowchart for Markdown, or plain data."),
]


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("graph")(graph)


def graph(name: AppName, form: Format = "text", as_json: AsJson = False) -> None:
    """Show an app's topics, agents, features, models and monitors, and what is read together.

    Example: streamserve graph topologies.flights.app:app --format mermaid
    """
    from streamserve.cli.loading import load_app
    from streamserve.dataflow import render

    plan = load_app(name).plan()
    if as_json or form == "json":
        typer.echo(json.dumps(render.as_json(plan), indent=2))
    else:
        typer.echo(render.as_mermaid(plan) if form == "mermaid" else render.as_text(plan))
