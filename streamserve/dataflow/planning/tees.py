"""Which predictions that labels wait for the app makes itself, and the internal topics that carry them.

The app's predictions come from several input partitions at different speeds, so the times on their own topic tell
nothing of what is still to come. Their copies go through internal topics, as regrouped records do.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from streamserve.dataflow.planning.declared import Declared
from streamserve.dataflow.planning.nodes import AgentNode, LabelsNode, TeeNode, TopicNode
from streamserve.dataflow.planning.plan import Part
from streamserve.dataflow.planning.references import used_nodes
from streamserve.errors import PlanError


def with_tees(declared: Declared, parts: Sequence[Part]) -> tuple[Declared, list[TeeNode]]:
    """Return the declarations with the internal topics that labels read, given the parts that there are without them.

    Raises:
        PlanError: something writes predictions of which nobody knows which record they came from.
    """
    topics, labels, tees = dict(declared.topics), dict(declared.labels), list[TeeNode]()
    for node in declared.labels.values():
        for problem in _untraceable(declared, node):
            raise PlanError(problem)
        mine = [_tee(declared.app, node, part) for part in parts if any(_writes(node, agent) for agent in part.agents)]
        for tee in mine:
            topics[tee.topic] = _topic(tee, declared, next(part for part in parts if tee.source in part.topics))
        labels[node.name] = replace(node, read_from=tuple(tee.topic for tee in mine) or (node.predictions,))
        tees += mine
    return replace(declared, topics=topics, labels=labels), tees


def _tee(app: str, node: LabelsNode, part: Part) -> TeeNode:
    return TeeNode(node.predictions, part.topics[0], f"{app}-{node.name}-from-{part.name}-regrouped")


def _topic(tee: TeeNode, declared: Declared, part: Part) -> TopicNode:
    """Return the internal topic: rows may be as late on it as those that they come from, or as a join tells of them."""
    topics = declared.topics
    predictions = topics[tee.predictions]
    joins = [join.within_ms for join in declared.joins.values() if join.left in part.topics and join.kind != "inner"]
    lateness = max(topics[name].max_out_of_orderness_ms for name in (tee.predictions, *part.topics))
    lateness += max(joins, default=0)
    return replace(
        predictions,
        name=tee.topic,
        max_out_of_orderness_ms=lateness,
        late="process",
        upstream=tee.source,
        max_future_ms=None,
    )


def _writes(node: LabelsNode, agent: AgentNode) -> bool:
    return node.predictions in agent.outputs or _mentions(agent.function, node.predictions)


def _mentions(function: Callable[..., Any] | None, topic: str) -> bool:
    return any(found.name == topic for found in used_nodes(function, TopicNode))


def _untraceable(declared: Declared, node: LabelsNode) -> Iterator[str]:
    """Yield what writes predictions without a record of theirs at hand: they have neither a time nor a partition."""
    topic = node.predictions
    writers = [
        f"timer {it.name!r}" for it in declared.timers.values() if it.to == topic or _mentions(it.function, topic)
    ]
    timers = [timer for table in declared.tables.values() for timer in table.timers]
    writers += [f"the timer of table {timer.table!r}" for timer in timers if timer.to == topic]
    writers += [f"window {it.name!r}" for it in declared.windows.values() if it.to == topic]
    writers += [
        f"dataflow {it.name!r}" for it in declared.agents.values() if it.kind == "dataflow" and _writes(node, it)
    ]
    for writer in writers:
        yield (
            f"labels {node.name!r} wait for predictions of topic {topic!r}, which {writer} writes without telling for"
            " which record: let an agent or app.score write them"
        )


def circles(parts: Iterable[Part], topics: Mapping[str, TopicNode]) -> Iterator[str]:
    """Yield the parts that would wait for themselves: for how far they have come with what they read back."""
    part_of = {topic: part for part in parts for topic in part.topics}
    feeders = {
        part.name: {part_of[upstream].name for topic in part.topics if (upstream := topics[topic].upstream) in part_of}
        for part in part_of.values()
    }
    for part in {part.name: part for part in part_of.values()}.values():
        if part.name in _reached(part.name, feeders):
            back = next(topic for topic in part.topics if topics[topic].upstream is not None)
            yield (
                f"topics {', '.join(part.topics)} are read together, but {back!r} holds what comes of the others, so"
                " that they would wait for themselves: read one of them regrouped, as source.group_by(field) gives it,"
                " or by an agent of its own"
            )


def _reached(name: str, feeders: Mapping[str, set[str]]) -> set[str]:
    """Return what ``name`` waits for, directly or not."""
    found: set[str] = set()
    waiting = list(feeders[name])
    while waiting:
        one = waiting.pop()
        if one not in found:
            found.add(one)
            waiting += feeders[one]
    return found
