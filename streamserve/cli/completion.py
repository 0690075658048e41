"""What a shell completes: apps of the working directory, and their topics and tables.

Modules are read, never imported: completion answers at once and runs no code of the user's.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import typer

__all__ = ["complete_apps", "complete_readable", "complete_tables", "complete_topics"]

_MOST_FILES = 500
_LARGEST = 1 << 18
_ENGINES = ("dead-letters", "drift", "features", "performance")
_SKIPPED = frozenset({"build", "dist", "node_modules", "tests"})


def complete_apps(incomplete: str) -> list[str]:
    """Return the apps, as ``MODULE:APP``, of modules at most two packages deep that begin with ``incomplete``."""
    found = (f"{module}:{name}" for module, path in _modules(Path()) for name in _apps_in(path))
    return sorted(app for app in found if app.startswith(incomplete))


def complete_topics(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the topics that the module of the app given before declares."""
    return _declared(ctx, "topic", incomplete)


def complete_readable(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the same, and the engine's topics without the app's name."""
    return [*complete_topics(ctx, incomplete), *(name for name in _ENGINES if name.startswith(incomplete))]


def complete_tables(ctx: typer.Context, incomplete: str) -> list[str]:
    """Return the tables that the module of the app given before declares."""
    return _declared(ctx, "table", incomplete)


def _modules(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yield names and files of modules, the first few hundred."""
    files = (path for pattern in ("*.py", "*/*.py", "*/*/*.py") for path in folder.glob(pattern))
    kept = (path for path in files if not any(part in _SKIPPED or part.startswith(".") for part in path.parts))
    for path, _ in zip(kept, range(_MOST_FILES), strict=False):
        yield ".".join(path.with_suffix("").parts).removesuffix(".__init__"), path


def _apps_in(path: Path) -> list[str]:
    """Return the names to which the module's top level assigns ``App(...)``."""
    return [
        target.id
        for statement in _body(path)
        if isinstance(statement, ast.Assign) and _called(statement.value) == "App"
        for target in statement.targets
        if isinstance(target, ast.Name)
    ]


def _declared(ctx: typer.Context, method: str, incomplete: str) -> list[str]:
    """Return the first arguments of the calls ``app.<method>("name", ...)`` in the module of the app given before."""
    module = str(ctx.params.get("name") or "").partition(":")[0].replace(".", "/")
    files = [path for path in (Path(f"{module}.py"), Path(module) / "__init__.py") if module and path.is_file()]
    names = {name for path in files for statement in _body(path) for name in _names(statement, method)}
    return sorted(name for name in names if name.startswith(incomplete))


def _names(statement: ast.stmt, method: str) -> Iterator[str]:
    for node in ast.walk(statement):
        if isinstance(node, ast.Call) and _called(node) == method and isinstance(node.func, ast.Attribute):
            first = node.args[0] if node.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                yield first.value


def _called(expression: ast.expr) -> str | None:
    """Return the last word of what is called: ``App`` for ``streamserve.App("x")``."""
    if not isinstance(expression, ast.Call):
        return None
    function = expression.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", None)


def _body(path: Path) -> list[ast.stmt]:
    try:
        text = path.read_text(encoding="utf-8") if path.stat().st_size <= _LARGEST else ""
        return ast.parse(text).body
    except (OSError, SyntaxError, ValueError):
        return []
