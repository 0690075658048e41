"""Declares commands: functions of an app for its own command line."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from streamserve.app.declared import Declares, checked
from streamserve.errors import PlanError

P = ParamSpec("P")
R = TypeVar("R")


class DeclaresCommands(Declares):
    """``app.command``."""

    def command(self, *, name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
        """Let ``streamserve call MODULE:APP NAME`` run a function, whose parameters become arguments and options.

        They are read by typer: annotate them with plain types, a default makes an option; the docstring is the help.
        The function may be ``async``. What it sends with ``await topic.send(...)`` is held back until it has ended and
        then written in order, outside any transaction; if it raises, nothing is. Tables, features and models do not
        answer here: they belong to workers. ``name`` defaults to the function's, with dashes.

        >>> from streamserve import App
        >>> app = App("greeter")
        >>> @app.command()
        ... def say_hello(name: str, times: int = 1) -> None:
        ...     print(f"hello {name}! " * times)
        >>> list(app.commands)
        ['say-hello']

        Raises:
            PlanError: another command has the name, or the function yields.
        """

        def decorate(function: Callable[P, R]) -> Callable[P, R]:
            chosen = checked(name or function.__name__.replace("_", "-"), "command")
            if chosen in self._declared.commands:
                raise PlanError(f"command {chosen!r} is declared twice: give one of them name=")
            if inspect.isasyncgenfunction(function) or inspect.isgeneratorfunction(function):
                raise PlanError(f"command {chosen!r} must not yield: what it writes goes through topic.send(...)")
            self._declared.commands[chosen] = function
            return function

        return decorate

    @property
    def commands(self) -> dict[str, Callable[..., Any]]:
        """Return the functions declared as commands, by name."""
        return dict(self._declared.commands)
