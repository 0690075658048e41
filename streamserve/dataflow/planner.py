"""From declarations to a plan: which topics are read together, and whether it all fits."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from streamserve.dataflow.plan import (
    AgentNode,
    FeaturesNode,
    ModelNode,
    MonitorNode,
    Part,
    Plan,
    TimerNode,
    TopicNode,
)
from streamserve.errors import PlanError


def make_plan(
    app: str,
    *,
    topics: Mapping[str, TopicNode],
    features: Mapping[str, FeaturesNode],
    models: Mapping[str, ModelNode],
    agents: Sequence[AgentNode],
    timers: Sequence[TimerNode],
    monitors: Sequence[MonitorNode],
    lifespans: Sequence[Callable[[], Any]],
) -> Plan:
    """Return the plan of an app.

    Raises:
        PlanError: something named is not declared, or an event type and a feature service do not meet.
    """
    for problem in _unknown_names(topics, features, models, agents, monitors):
        raise PlanError(problem)
    parts = _parts(topics, features, agents)
    return Plan(app, dict(topics), dict(features), dict(models), agents, timers, monitors, lifespans, parts)


def _unknown_names(
    topics: Mapping[str, TopicNode],
    features: Mapping[str, FeaturesNode],
    models: Mapping[str, ModelNode],
    agents: Sequence[AgentNode],
    monitors: Sequence[MonitorNode],
) -> Iterator[str]:
    for agent in agents:
        for name in (*agent.sources, *([agent.to] if agent.to else [])):
            if name not in topics:
                yield f"agent {agent.name!r} uses topic {name!r}, which belongs to another app: declare it on this one"
        if agent.model is not None and agent.model not in models:
            yield f"agent {agent.name!r} scores with model {agent.model!r}, which belongs to another app"
    for monitor in monitors:
        if monitor.model not in models:
            yield f"a monitor watches model {monitor.model!r}, which belongs to another app"
    yield from _wrong_pushes(topics, features)


def _wrong_pushes(topics: Mapping[str, TopicNode], features: Mapping[str, FeaturesNode]) -> Iterator[str]:
    for node in features.values():
        for push in node.pushes:
            if push.topic not in topics:
                yield f"features {node.service!r} are pushed from topic {push.topic!r}, which belongs to another app"
            elif topics[push.topic].value_type is None:
                yield f"features {node.service!r} are pushed from topic {push.topic!r}, whose values are bytes: type it"


def _parts(
    topics: Mapping[str, TopicNode], features: Mapping[str, FeaturesNode], agents: Sequence[AgentNode]
) -> list[Part]:
    """Return the connected parts: topics that some agent reads together, or that push what another's events ask."""
    together = [frozenset(agent.sources) for agent in agents]
    for node in features.values():
        asking = [topic for agent in agents for topic in agent.sources if topics[topic].value_type is node.event]
        if node.pushes and asking:
            together.append(frozenset([*asking, *(push.topic for push in node.pushes)]))
    pushed = {push.topic for node in features.values() for push in node.pushes}
    order = {name: place for place, name in enumerate(topics)}
    parts: list[Part] = []
    for group in _connected(together):
        names = tuple(sorted(group, key=order.__getitem__))
        mine = tuple(agent for agent in agents if agent.sources[0] in group)
        parts.append(Part(names[0].replace(".", "_"), names, mine, frozenset(pushed & group)))
    return sorted(parts, key=lambda part: order[part.topics[0]])


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
