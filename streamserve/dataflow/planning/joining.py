"""What joins of two streams mean for the rest of an app, and what cannot be done with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain

from streamserve.dataflow.planning.declared import Declared
from streamserve.dataflow.planning.nodes import AgentNode, JoinNode, TopicNode
from streamserve.dataflow.planning.uses import Uses

_REMEDY = "let an agent write its pairs to a topic, and read that"


def topics_read(sources: Iterable[str], joins: Mapping[str, JoinNode]) -> list[str]:
    """Return the topics behind ``sources``: a join stands for both of its own.

    >>> topics_read(["a", "a-join-b"], {"a-join-b": JoinNode("a-join-b", "a", "b", 1_000, "inner")})
    ['a', 'a', 'b']
    """
    return list(chain.from_iterable(joins[name].topics if name in joins else (name,) for name in sources))


def key_problem(left: TopicNode, right: TopicNode) -> str | None:
    """Return why records of ``left`` and ``right`` cannot have equal keys, as far as their declarations tell."""
    kinds = {
        "bytes" if node.value_type is None else "text" if isinstance(node.key, str) else None for node in (left, right)
    }
    if {"bytes", "text"} <= kinds:
        return f"the keys of {left.name!r} and {right.name!r} are text and bytes: give both a value type and a key"
    return None


def wrong_joins(declared: Declared) -> Iterator[str]:
    """Yield what is wrong with the app's joins."""
    for join in declared.joins.values():
        for topic in join.topics:
            if topic not in declared.topics:
                yield f"join {join.name!r} reads topic {topic!r}, which belongs to another app: declare it on this one"
        for what, names in (("topic", declared.topics), ("table", declared.tables), ("window", declared.windows)):
            if join.name in names:
                yield f"join {join.name!r} has the name of a {what}: give it name="
    yield from _wrong_uses(declared)


def _wrong_uses(declared: Declared) -> Iterator[str]:
    for window in declared.windows.values():
        if window.source in declared.joins:
            yield f"window {window.name!r} counts the pairs of a join, which is not possible: {_REMEDY}"
    for node in declared.features.values():
        for push in node.pushes:
            if push.topic in declared.joins:
                yield f"features {node.service!r} are pushed from the pairs of a join: push from one of its topics"


def wrong_readers(declared: Declared, uses: Uses) -> Iterator[str]:
    """Yield what agents cannot do with the pairs that they read."""
    for agent in declared.agents.values():
        if declared.joins.keys() & set(agent.sources):
            yield from _wrong_reader(agent, uses)


def _wrong_reader(agent: AgentNode, uses: Uses) -> Iterator[str]:
    if len(agent.sources) > 1:
        yield f"agent {agent.name!r} reads a join beside other sources: let it read the join alone"
    if agent.kind in ("dataflow", "score"):
        yield f"{agent.kind} {agent.name!r} reads a join: its pairs are for agents and batch agents; or {_REMEDY}"
    if uses.windows[agent.name]:
        window = min(uses.windows[agent.name])
        yield f"agent {agent.name!r} reads a join and window {window!r}, which answers only to events: {_REMEDY}"
