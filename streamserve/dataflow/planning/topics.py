"""Which topics a plan needs on the broker, and with how many partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from streamserve.dataflow.planning.plan import Part, Plan
from streamserve.errors import TopicError
from streamserve.kafka.admin import TopicSpec, changelog_config, compacted_config, dead_letter_config, regrouped_config
from streamserve.kafka.marks import most_channels


def topic_specs(plan: Plan, found: Mapping[str, int], *, partitions: int | None = None) -> list[TopicSpec]:
    """Return what the plan needs; ``found`` are the broker's topics with their numbers of partitions.

    Topics that are read together have equal numbers: that of the first that exists, else ``partitions``. The state
    changelog has one partition for each partition number that any part has.
    """
    counts = {part.name: _count(part, found, partitions) for part in plan.parts}
    read = _read_specs(plan, counts)
    known, written = {spec.name for spec in read}, written_topics(plan)
    others = [name for name in plan.topics if name in written and name not in known]
    return [*read, *(TopicSpec(name, None, {}, "written by the app") for name in others), *_engine_specs(plan, counts)]


def _read_specs(plan: Plan, counts: Mapping[str, int | None]) -> list[TopicSpec]:
    """Return the topics that the parts read, and those that workers hold whole."""
    specs = [
        TopicSpec(topic, counts[part.name] if part.merges else None, _config(plan, topic), _purpose(plan, part, topic))
        for part in plan.parts
        for topic in part.topics
    ]
    read = {spec.name for spec in specs}
    whole = [TopicSpec(name, None, compacted_config(), "held whole by every worker") for name in plan.global_tables]
    return [*specs, *(spec for spec in whole if spec.name not in read)]


def _engine_specs(plan: Plan, counts: Mapping[str, int | None]) -> list[TopicSpec]:
    """Return the topics that the engine writes beside the app's own."""
    specs = [TopicSpec(plan.dead_letter_topic, None, dead_letter_config(), "dead letters")]
    if plan.is_stateful:
        known = [count for count in counts.values() if count is not None]
        specs.append(TopicSpec(plan.drift_topic, None, {}, "drift statistics"))
        specs.append(TopicSpec(plan.state_topic, max(known, default=None), changelog_config(), "state changelog"))
    specs += [
        TopicSpec(plan.changelog_of(name), counts[part.name], changelog_config(), f"changelog of {name}")
        for part in plan.parts
        for name in part.states
    ]
    if plan.labels:
        specs.append(TopicSpec(plan.performance_topic, None, {}, "labels and live performance"))
    if plan.logs_features:
        specs.append(TopicSpec(plan.features_topic, None, {}, "feature rows as used"))
    return specs


def written_topics(plan: Plan) -> set[str]:
    """Return the app's own topics that are not only read: outputs of agents and timers, and targets of sends."""
    read_only = {push.topic for node in plan.features.values() for push in node.pushes}
    read_only |= {topic for part in plan.parts for topic in part.topics}
    outputs = {topic for agent in plan.agents for topic in agent.outputs}
    outputs |= {timer.to for timer in plan.timers if timer.to is not None}
    outputs |= {timer.to for table in plan.tables.values() for timer in table.timers if timer.to is not None}
    outputs |= {window.to for window in plan.windows.values() if window.to is not None}
    return outputs | (plan.topics.keys() - read_only)


def check_channels(plan: Plan, found: Mapping[str, int], instance: str, metadata_bytes: Callable[[], int]) -> None:
    """Make sure that what is to be known of every partition that a topic is regrouped from fits beside an offset.

    ``metadata_bytes`` tells what the broker takes there, and is asked only where Kafka's default is too little.

    Raises:
        TopicError: there are too many partitions.
    """
    usual = most_channels(instance)
    crowded = {name: found[name] for name in _regrouped(plan) if found.get(name, 0) > usual}
    if not crowded:
        return
    most = most_channels(instance, metadata_bytes())
    for name, partitions in crowded.items():
        if partitions > most:
            raise TopicError(
                f"topic {name!r} has {partitions} partitions, but can be regrouped from at most {most}: their times are"
                " committed as an offset's metadata. Raise the broker's offset.metadata.max.bytes (8 bytes for each"
                " are plenty), or use a topic of fewer partitions."
            )


def _regrouped(plan: Plan) -> list[str]:
    """Return the topics whose partitions are the channels of others."""
    return sorted({topic.upstream for topic in plan.topics.values() if topic.upstream is not None})


def _config(plan: Plan, topic: str) -> dict[str, str]:
    return {} if plan.topics[topic].upstream is None else regrouped_config()


def _count(part: Part, found: Mapping[str, int], default: int | None) -> int | None:
    return next((found[topic] for topic in part.topics if topic in found), default)


def _purpose(plan: Plan, part: Part, topic: str) -> str:
    joined = [name for join in plan.joins.values() if topic in join.topics for name in join.topics if name != topic]
    beside = f", joined with {', '.join(map(repr, joined))}" if joined else ""
    return f"read by {_readers(part)}{beside}"


def _readers(part: Part) -> str:
    return ", ".join(agent.name for agent in part.agents) or "feature pushes"
