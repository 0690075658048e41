"""From declarations to a plan: which topics are read together, and whether it all fits."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from streamserve.dataflow.planning.declared import Declared
from streamserve.dataflow.planning.joining import topics_read, wrong_joins, wrong_readers
from streamserve.dataflow.planning.nodes import AgentNode, FeaturesNode, TopicNode
from streamserve.dataflow.planning.plan import Part, Plan, part_name
from streamserve.dataflow.planning.tees import circles, with_tees
from streamserve.dataflow.planning.uses import Uses, find_uses
from streamserve.errors import PlanError


def make_plan(declared: Declared) -> Plan:
    """Return the plan of an app.

    Raises:
        PlanError: something named is not declared, an event type and a feature service do not meet, or agents that
            share a table do not read their topics together.
    """
    for problem in _unknown_names(declared):
        raise PlanError(problem)
    uses = find_uses(declared)
    for problem in wrong_readers(declared, uses):
        raise PlanError(problem)
    agents = tuple(
        replace(agent, is_scoped=agent.name in uses.scoped, tables=tuple(sorted(uses.tables[agent.name])))
        for agent in declared.agents.values()
    )
    declared, tees = with_tees(declared, _parts(declared, agents, uses))
    parts = _parts(declared, agents, uses)
    for problem in circles(parts, declared.topics):
        raise PlanError(problem)
    return Plan(
        declared.app,
        dict(declared.topics),
        dict(declared.features),
        dict(declared.models),
        agents,
        tuple(declared.timers.values()),
        tuple(declared.monitors.values()),
        tuple(declared.lifespans),
        [_with_state(part, parts, uses, declared) for part in parts],
        dict(declared.tables),
        dict(declared.windows),
        dict(declared.regroupings),
        global_tables=dict(declared.global_tables),
        joins=dict(declared.joins),
        labels=dict(declared.labels),
        tees=tees,
    )


def _unknown_names(declared: Declared) -> Iterator[str]:
    topics, models = declared.topics, declared.models
    yield from wrong_joins(declared)
    for agent in declared.agents.values():
        for name in (*topics_read(agent.sources, declared.joins), *agent.outputs):
            if name not in topics:
                yield f"agent {agent.name!r} uses topic {name!r}, which belongs to another app: declare it on this one"
        if agent.model is not None and agent.model not in models:
            yield f"agent {agent.name!r} scores with model {agent.model!r}, which belongs to another app"
    for monitor in declared.monitors.values():
        if monitor.model not in models:
            yield f"a monitor watches model {monitor.model!r}, which belongs to another app"
    for window in declared.windows.values():
        for name in (window.source, *([window.to] if window.to else [])):
            if name not in topics:
                yield f"window {window.name!r} uses topic {name!r}, which belongs to another app"
    yield from _wrong_timers(declared)
    yield from _wrong_labels(declared)
    yield from _wrong_tables(declared)
    yield from _wrong_pushes(topics, declared.features)


def _wrong_labels(declared: Declared) -> Iterator[str]:
    for node in declared.labels.values():
        for name in (node.labels, node.predictions):
            if name not in declared.topics:
                yield f"labels {node.name!r} use topic {name!r}, which belongs to another app"
        if node.name in declared.agents:
            yield f"labels {node.name!r} have the name of an agent: give them another name="


def _wrong_timers(declared: Declared) -> Iterator[str]:
    for timer in declared.timers.values():
        if timer.to is not None and timer.to not in declared.topics:
            yield f"timer {timer.name!r} uses topic {timer.to!r}, which belongs to another app: declare it on this one"


def _wrong_tables(declared: Declared) -> Iterator[str]:
    for name in declared.global_tables.keys() - declared.topics.keys():
        yield f"a global table is of topic {name!r}, which belongs to another app: declare it on this one"
    for table in declared.tables.values():
        foreign = {timer.to for timer in table.timers if timer.to is not None} - declared.topics.keys()
        for topic in sorted(foreign):
            yield f"the timer of table {table.name!r} uses topic {topic!r}, which belongs to another app"


def _wrong_pushes(topics: Mapping[str, TopicNode], features: Mapping[str, FeaturesNode]) -> Iterator[str]:
    for node in features.values():
        for push in node.pushes:
            if push.topic not in topics:
                yield f"features {node.service!r} are pushed from topic {push.topic!r}, which belongs to another app"
            elif topics[push.topic].value_type is None:
                yield f"features {node.service!r} are pushed from topic {push.topic!r}, whose values are bytes: type it"


def _parts(declared: Declared, agents: Sequence[AgentNode], uses: Uses) -> list[Part]:
    """Return the connected parts: topics that some agent reads together, or that feed what another's events ask."""
    topics = declared.topics
    sources = {agent.name: topics_read(agent.sources, declared.joins) for agent in agents}
    together = [frozenset(names) for names in sources.values()]
    together += [frozenset([node.source]) for node in declared.windows.values()]
    together += [frozenset([node.source]) for node in declared.regroupings.values()]
    together += [frozenset([node.labels, *node.read_from]) for node in declared.labels.values()]
    for agent in agents:
        windows = [declared.windows[name].source for name in uses.windows[agent.name]]
        together += [frozenset([*sources[agent.name], source]) for source in windows]
    for node in declared.features.values():
        asking = [topic for agent in agents for topic in sources[agent.name] if topics[topic].value_type is node.event]
        if node.pushes and asking:
            together.append(frozenset([*asking, *(push.topic for push in node.pushes)]))
    pushed = {push.topic for node in declared.features.values() for push in node.pushes}
    order = {name: place for place, name in enumerate(topics)}
    parts: list[Part] = []
    for group in _connected(together):
        names = tuple(sorted(group, key=order.__getitem__))
        mine = tuple(agent for agent in agents if sources[agent.name][0] in group)
        parts.append(Part(part_name(names[0]), names, mine, frozenset(pushed & group)))
    return sorted(parts, key=lambda part: order[part.topics[0]])


def _with_state(part: Part, parts: Sequence[Part], uses: Uses, declared: Declared) -> Part:
    """Return ``part`` with the state that lives in it."""
    names = {agent.name for agent in part.agents}
    mine = {table for table in declared.tables if any(table in uses.tables[name] for name in names)}
    for other in parts:
        shared = [name for agent in other.agents if other is not part for name in uses.tables[agent.name] & mine]
        if shared:
            raise PlanError(
                f"table {shared[0]!r} is used by agents that do not read their topics together:"
                f" {', '.join(sorted(names))} and {', '.join(sorted(agent.name for agent in other.agents))}. A table"
                " belongs to one partition group: read the topics in one agent, or keep two tables."
            )
    return replace(
        part,
        tables=tuple(name for name in declared.tables if name in mine),
        windows=tuple(name for name, node in declared.windows.items() if node.source in part.topics),
        joins=tuple(dict.fromkeys(name for agent in part.agents for name in agent.sources if name in declared.joins)),
        labels=tuple(name for name, node in declared.labels.items() if node.labels in part.topics),
    )


def _connected(sets: Iterable[frozenset[str]]) -> list[frozenset[str]]:
    """Unite sets that share a member.

    >>> sorted(sorted(group) for group in _connected([frozenset("ab"), frozenset("c"), frozenset("bd")]))
    [['a', 'b', 'd'], ['c']]
    """
    groups: list[frozenset[str]] = []
    for new in sets:
        touching = [group for group in groups if group & new]
        groups = [group for group in groups if not group & new]
        groups.append(new.union(*touching))
    return groups
