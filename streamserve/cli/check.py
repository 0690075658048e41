"""``streamserve check``: whether an app can work, without a broker."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer

from streamserve.cli.options import AppName, AsJson
from streamserve.errors import PlanError

if TYPE_CHECKING:
    from streamserve.dataflow.checks import Problem


def register(main: typer.Typer) -> None:
    """Add the command."""
    main.command("check")(check_command)


def check_command(name: AppName, as_json: AsJson = False) -> None:
    """Find out without a broker whether an app can work: types, keys, features, models, monitors and names.

    The feature repository's registry and the model packages are read. The exit code is 1 where there are problems.

    Example: streamserve check topologies.flights.app:app
    """
    from streamserve.cli.console import print_json, print_table

    problems = _problems(name)
    if as_json:
        print_json({"app": name, "problems": [asdict(problem) for problem in problems]})
    elif problems:
        rows = [(problem.where, problem.what, problem.remedy) for problem in problems]
        print_table(("where", "what is wrong", "what to do"), rows, title=f"Problems of {name}: {len(problems)}")
    else:
        typer.echo(f"{name} is fine; 'streamserve topics check' asks the broker")
    if problems:
        raise typer.Exit(1)


def _problems(name: str) -> list[Problem]:
    from streamserve.cli.loading import apps_beside, load_app, load_settings_of
    from streamserve.dataflow.checks import check, problem_of

    try:
        app = load_app(name)
        return check(app.plan(), load_settings_of(app), [other.plan() for other in apps_beside(name)])
    except PlanError as error:
        return [problem_of(error)]
