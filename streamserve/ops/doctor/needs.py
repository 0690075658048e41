"""What an app does with each of its topics, from its plan."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

from streamserve.dataflow.planning.plan import Plan
from streamserve.dataflow.planning.topics import topic_specs, written_topics

__all__ = ["Role", "TopicNeed", "topic_needs"]

Role: TypeAlias = Literal["input", "reference", "regrouped", "changelog", "dead-letters", "output"]
"""``reference`` topics are pushed to Feast or held whole: of them the last value of each key may be enough."""


@dataclass(frozen=True, slots=True)
class TopicNeed:
    """A topic, how many partitions it must have, if that is fixed, and which of Kafka's operations on it we use."""

    name: str
    role: Role
    partitions: int | None
    operations: frozenset[str]
    purpose: str = ""


def topic_needs(plan: Plan, found: Mapping[str, int]) -> list[TopicNeed]:
    """Return what ``plan`` needs; ``found`` has the topics that exist, with their numbers of partitions."""
    written = written_topics(plan) - plan.global_tables.keys()
    needs: list[TopicNeed] = []
    for spec in topic_specs(plan, found):
        role = _role(plan, spec.name)
        reads = role in {"input", "reference", "regrouped", "changelog"}
        writes = role in {"regrouped", "changelog", "dead-letters", "output"} or spec.name in written
        operations = frozenset(["READ"] * reads + ["WRITE"] * writes)
        needs.append(TopicNeed(spec.name, role, spec.partitions, operations, spec.purpose))
    return needs


def _role(plan: Plan, name: str) -> Role:
    if name == plan.dead_letter_topic:
        return "dead-letters"
    if name in {plan.state_topic, *(plan.changelog_of(state) for part in plan.parts for state in part.states)}:
        return "changelog"
    for part in plan.parts:
        if name in part.topics:
            if plan.topics[name].upstream is not None:
                return "regrouped"
            is_only_pushed = name in part.push_topics and not any(name in agent.sources for agent in part.agents)
            return "reference" if is_only_pushed else "input"
    return "reference" if name in plan.global_tables else "output"
