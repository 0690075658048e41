"""Which topics a plan needs on the broker, and with how many partitions."""

from __future__ import annotations

from collections.abc import Mapping

from streamserve.dataflow.plan import Part, Plan
from streamserve.kafka.admin import TopicSpec, changelog_config, dead_letter_config, regrouped_config


def topic_specs(plan: Plan, found: Mapping[str, int], *, partitions: int | None = None) -> list[TopicSpec]:
    """Return what the plan needs; ``found`` are the broker's topics with their numbers of partitions.

    Topics that are read together have equal numbers: that of the first that exists, else ``partitions``. The state
    changelog has one partition for each partition number that any part has.
    """
    counts = {part.name: _count(part, found, partitions) for part in plan.parts}
    specs = [
        TopicSpec(topic, counts[part.name] if part.merges else None, _config(plan, topic), f"read by {_readers(part)}")
        for part in plan.parts
        for topic in part.topics
    ]
    read = {spec.name for spec in specs}
    specs += [
        TopicSpec(name, None, {}, "written by the app")
        for name in plan.topics
        if name not in read and name in written_topics(plan)
    ]
    specs.append(TopicSpec(plan.dead_letter_topic, None, dead_letter_config(), "dead letters"))
    if plan.is_stateful:
        known = [count for count in counts.values() if count is not None]
        specs.append(TopicSpec(plan.drift_topic, None, {}, "drift statistics"))
        specs.append(TopicSpec(plan.state_topic, max(known, default=None), changelog_config(), "state changelog"))
    specs += [
        TopicSpec(plan.changelog_of(name), counts[part.name], changelog_config(), f"changelog of {name}")
        for part in plan.parts
        for name in (*part.tables, *part.windows)
    ]
    if plan.logs_features:
        specs.append(TopicSpec(plan.features_topic, None, {}, "feature rows as used"))
    return specs


def written_topics(plan: Plan) -> set[str]:
    """Return the app's own topics that are not only read: outputs of agents and timers, and targets of sends."""
    read_only = {push.topic for node in plan.features.values() for push in node.pushes}
    read_only |= {topic for part in plan.parts for topic in part.topics}
    outputs = {agent.to for agent in plan.agents if agent.to is not None} | {timer.to for timer in plan.timers}
    outputs |= {window.to for window in plan.windows.values() if window.to is not None}
    return outputs | (plan.topics.keys() - read_only)


def _config(plan: Plan, topic: str) -> dict[str, str]:
    return {} if plan.topics[topic].upstream is None else regrouped_config()


def _count(part: Part, found: Mapping[str, int], default: int | None) -> int | None:
    return next((found[topic] for topic in part.topics if topic in found), default)


def _readers(part: Part) -> str:
    return ", ".join(agent.name for agent in part.agents) or "feature pushes"
