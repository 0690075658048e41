"""Which tables and windows a function uses, found by looking at the names that it and its helpers mention.

An agent does not declare its tables: it mentions them. They must be known before it runs, since their state is restored
with the partitions that the agent reads.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from dis import get_instructions
from functools import partial
from types import CodeType, FunctionType, MethodType, ModuleType
from typing import Any, TypeVar

N = TypeVar("N")

_LIBRARIES = frozenset({"streamserve"})
_SHIPPED_APP = "streamserve.testing.verify.app"
"""The app that ``streamserve verify`` runs: it stands in a library, but is read as a user's."""


def used_nodes(function: Callable[..., Any] | None, *kinds: type[N]) -> list[N]:
    """Return the nodes of ``kinds`` that ``function`` mentions, itself or through functions of its own package.

    Found are names of its module and of its closure, attributes of modules (``state.counts``), defaults, and what is
    bound to it. Not found is what is reached through a container or a call; agents name such tables with ``tables=``.

    >>> used_nodes(lambda event: event, str)
    []
    """
    nodes = (getattr(item, "node", None) for item in _mentioned(function, set()))
    return list({id(node): node for node in nodes if isinstance(node, kinds)}.values())


def mentions(function: Callable[..., Any] | None, name: str) -> bool:
    """Return whether ``function``, or a function of its own package that it uses, mentions the attribute ``name``.

    >>> mentions(lambda table: table.set_timer, "set_timer"), mentions(lambda table: table, "set_timer")
    (True, False)
    """
    codes = [item.__code__ for item in _mentioned(function, set()) if isinstance(item, FunctionType)]
    return any(name in inner.co_names for code in codes for inner in _codes(code))


def _mentioned(item: Any, seen: set[int]) -> Iterator[Any]:
    """Yield ``item`` and what it leads to, each once."""
    if id(item) in seen:
        return
    seen.add(id(item))
    yield item
    for inner in _leads_to(item):
        yield from _mentioned(inner, seen)


def _leads_to(item: Any) -> Iterator[Any]:
    if isinstance(item, partial):
        yield from (item.func, *item.args, *item.keywords.values())
    elif isinstance(item, MethodType):
        yield item.__func__
        yield from vars(item.__self__).values() if hasattr(item.__self__, "__dict__") else ()
    elif isinstance(item, FunctionType) and not _is_of_library(item.__module__):
        yield from _of_function(item)
    elif (wrapped := getattr(item, "__wrapped__", None)) is not None:
        yield wrapped


def _is_of_library(module: str) -> bool:
    return module.partition(".")[0] in _LIBRARIES and module != _SHIPPED_APP


def _of_function(function: FunctionType) -> Iterator[Any]:
    unwrapped = inspect.unwrap(function)
    if unwrapped is not function:
        yield unwrapped
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # not assigned yet
            continue
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    mentioned = [step for code in _codes(function.__code__) for step in get_instructions(code)]
    names = {step.argval for step in mentioned if step.opname == "LOAD_GLOBAL"}
    attributes = {step.argval for step in mentioned if step.opname in ("LOAD_ATTR", "LOAD_METHOD")}
    for name in names & function.__globals__.keys():
        value = function.__globals__[name]
        if isinstance(value, ModuleType):
            yield from (vars(value)[attribute] for attribute in attributes & vars(value).keys())
        elif _belongs_to(function, value):
            yield value


def _codes(code: CodeType) -> Iterator[CodeType]:
    """Yield ``code`` and that of the functions inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(constant)


def _belongs_to(function: FunctionType, value: Any) -> bool:
    """Return whether ``value`` is data, or a function of the same package: libraries' own functions are left out."""
    if not isinstance(value, FunctionType | type):
        return True
    return not isinstance(value, type) and value.__module__.partition(".")[0] == function.__module__.partition(".")[0]
