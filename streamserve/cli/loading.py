"""From ``MODULE:APP`` on the command line to the app and its settings."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path
from types import ModuleType, TracebackType
from typing import TYPE_CHECKING, Any

import typer

from streamserve.errors import StreamserveError

if TYPE_CHECKING:
    from streamserve.app import App
    from streamserve.dataflow.planning.plan import Plan
    from streamserve.settings import Settings

__all__ = ["apps_beside", "kafka_keys", "load_app", "load_plan", "load_settings_of"]

_HINT = "MODULE:APP"


def load_app(name: str) -> App:
    """Import ``module:app`` and return the app; the working directory is searched first.

    What the module itself raises is shown as it is, and ends the command with exit code 2.

    Raises:
        typer.BadParameter: there is no such module or attribute, or it is no app.
        StreamserveError: the module's declarations do not fit together.
    """
    from streamserve.app import App

    module_name, separator, attribute = name.partition(":")
    if "/" in module_name or module_name.endswith(".py"):
        raise _misnamed(f"{name!r} names a file: write {_dotted(module_name)}:{attribute or 'app'}, with dots")
    if not (separator and module_name and attribute):
        raise _misnamed(f"{name!r} is not MODULE:APP: write for example flights:app for the app of flights.py")
    found = getattr(_module(module_name), attribute, None)
    if isinstance(found, App):
        return found
    apps = ", ".join(_apps_in(module_name)) or "none"
    is_what = f"has no {attribute!r}" if found is None else f"has {attribute!r}, but it is a {type(found).__name__}"
    raise _misnamed(f"module {module_name!r} {is_what}; apps in it: {apps}")


def load_plan(name: str, brokers: str | None, *, kafka: Sequence[str] | None = None) -> tuple[Plan, Settings]:
    """Return the plan and the settings of the app ``module:app``, as ``load_app`` and ``load_settings_of`` do."""
    app = load_app(name)
    return app.plan(), load_settings_of(app, kafka=kafka, bootstrap_servers=brokers)


def apps_beside(name: str) -> list[App]:
    """Return the other apps in the module of the app ``name``, which has been loaded."""
    module_name, _, attribute = name.partition(":")
    apps = _apps_in(module_name)
    return [app for app in dict.fromkeys(apps.values()) if app is not apps[attribute]]


def _apps_in(module: str) -> dict[str, App]:
    from streamserve.app import App

    return {name: value for name, value in vars(sys.modules[module]).items() if isinstance(value, App)}


def load_settings_of(app: App, *, kafka: Sequence[str] | None = None, **command_line: Any) -> Settings:
    """Return the settings of ``app``: command line, then ``STREAMSERVE_*``, then code.

    Single ``kafka`` keys of the command line are added to those of the others.

    Raises:
        typer.BadParameter: one of ``kafka`` is not ``KEY=VALUE``.
        ConfigurationError: a value is not allowed.
    """
    from streamserve.settings import load_settings

    given = kafka_keys(kafka or ())
    merged = {**load_settings(app.settings).kafka, **given} if given else None
    return load_settings(app.settings, {**command_line, "kafka": merged})


def kafka_keys(settings: Sequence[str]) -> Mapping[str, str]:
    """Return ``KEY=VALUE`` texts as a mapping; values are not repeated in errors.

    >>> kafka_keys(["security.protocol=SSL", "client.rack=a=b"])
    {'security.protocol': 'SSL', 'client.rack': 'a=b'}
    """
    pairs = [setting.partition("=") for setting in settings]
    for key, separator, _ in pairs:
        if not (key and separator):
            raise typer.BadParameter("a setting is KEY=VALUE, for example security.protocol=SSL", param_hint="--set")
    return {key: value for key, _, value in pairs}


def _module(name: str) -> ModuleType:
    if "" not in sys.path and "." not in sys.path:
        sys.path.insert(0, "")
    from streamserve.features.environment import environment_kept

    try:
        with environment_kept():  # the module may import Feast
            return import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise _misnamed(f"no module {error.name!r}{_where(error.name)}") from None
        raise _broken(error) from error
    except StreamserveError:
        raise
    except Exception as error:
        raise _broken(error) from error


def _dotted(path: str) -> str:
    """Return the module in a file.

    >>> _dotted("./bees/hives.py")
    'bees.hives'
    """
    parts = Path(path.removesuffix(".py")).parts
    return ".".join(part for part in parts if part not in {"/", ".."})


def _where(module: str) -> str:
    """Return where a module was looked for, and where to go if it is not there."""
    package, _, rest = module.partition(".")
    if rest:
        return f": {package!r} is found, but has none of that name"
    here = Path.cwd()
    above = [folder for folder in here.parents if (folder / package).is_dir() or (folder / f"{package}.py").is_file()]
    there = above[0] if above else f"the folder that holds {package}/ or {package}.py"
    return f" in {here} or among the installed packages: run this in {there}"


def _broken(error: Exception) -> typer.Exit:
    """Print what the module raised, from the module's own frames on."""
    trace: TracebackType | None = error.__traceback__
    while trace is not None and trace.tb_next is not None and _is_importing(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    traceback.print_exception(type(error), error, trace)
    return typer.Exit(2)


def _is_importing(filename: str) -> bool:
    return filename == __file__ or "importlib" in filename


def _misnamed(text: str) -> typer.BadParameter:
    return typer.BadParameter(text, param_hint=_HINT)
