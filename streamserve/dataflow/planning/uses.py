"""Which agent uses which tables and windows, and whether it may."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from streamserve.dataflow.planning.declared import Declared
from streamserve.dataflow.planning.nodes import AgentNode, FeaturesNode, TableNode, WindowNode
from streamserve.dataflow.planning.references import used_nodes
from streamserve.errors import PlanError


@dataclass(frozen=True, slots=True)
class Uses:
    """Names of tables and windows, by agent; ``scoped`` agents ask for them by themselves."""

    tables: Mapping[str, frozenset[str]]
    windows: Mapping[str, frozenset[str]]
    scoped: frozenset[str]


def find_uses(declared: Declared) -> Uses:
    """Return what each agent uses.

    Raises:
        PlanError: an agent uses what it may not, or what belongs to another app.
    """
    used_tables: dict[str, frozenset[str]] = {}
    used_windows: dict[str, frozenset[str]] = {}
    scoped: set[str] = set()
    for agent in declared.agents.values():
        tables = _with_timers({node.name for node in used_nodes(agent.function, TableNode)} | {*agent.tables}, declared)
        windows = {node.name for node in used_nodes(agent.function, WindowNode)}
        if tables or windows:
            scoped.add(agent.name)
        windows |= {name for node in _features_of(agent, declared) for name in node.windows.values()}
        unknown = {*(tables - declared.tables.keys()), *(windows - declared.windows.keys())}
        for problem in _problems(agent, unknown, tables):
            raise PlanError(problem)
        used_tables[agent.name], used_windows[agent.name] = frozenset(tables), frozenset(windows)
    return Uses(used_tables, used_windows, frozenset(scoped))


def _with_timers(tables: set[str], declared: Declared) -> set[str]:
    """Return ``tables``, those that their timers use, and so on: they run beside the agent."""
    found: set[str] = set()
    left = tables
    while left:
        found |= left
        timers = [timer for name in left & declared.tables.keys() for timer in declared.tables[name].timers]
        left = {node.name for timer in timers for node in used_nodes(timer.function, TableNode)} - found
    return found


def _features_of(agent: AgentNode, declared: Declared) -> Iterator[FeaturesNode]:
    """Yield the feature services that ``agent`` asks: the one it declares, and those that its function mentions."""
    mentioned = {node.service for node in used_nodes(agent.function, FeaturesNode)}
    for node in declared.features.values():
        if node.service == agent.features or node.service in mentioned:
            yield node


def _problems(agent: AgentNode, unknown: set[str], used: set[str]) -> Iterator[str]:
    for name in sorted(unknown):
        yield f"agent {agent.name!r} uses table or window {name!r}, which belongs to another app"
    if used and agent.kind == "dataflow":
        yield f"dataflow {agent.name!r} uses table {min(used)!r}: raw operators have no tables, agents do"
    if used and agent.ordering == "unordered":
        yield (
            f"agent {agent.name!r} uses table {min(used)!r} with ordering='unordered': events of one key would change"
            " it side by side. Take ordering='key'."
        )
