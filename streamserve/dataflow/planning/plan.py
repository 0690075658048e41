"""What an app declares, as plain data: to be printed, drawn, compared and checked without a broker.

``App`` builds a plan; the compiler turns it into one Bytewax dataflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias, get_args

from streamserve.dataflow.planning.nodes import (
    AgentNode,
    FeaturesNode,
    GlobalTableNode,
    JoinNode,
    LabelsNode,
    LatePolicy,
    ModelNode,
    MonitorNode,
    RegroupNode,
    TableNode,
    TeeNode,
    TimerNode,
    TopicNode,
    WindowNode,
)

GroupKey: TypeAlias = tuple[str, int]
"""Which partition group: a part's name and a partition number."""


@dataclass(frozen=True, slots=True)
class Part:
    """Topics that are read together because agents connect them, and those agents.

    Partition *p* of all its topics is one partition group: it is owned, restored and committed as one. ``tables``,
    ``windows``, ``joins`` and ``labels`` are what lives in it.
    """

    name: str
    topics: tuple[str, ...]
    agents: tuple[AgentNode, ...]
    push_topics: frozenset[str]
    tables: tuple[str, ...] = ()
    windows: tuple[str, ...] = ()
    joins: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()

    @property
    def states(self) -> tuple[str, ...]:
        """Return the names of what has a changelog."""
        return *self.tables, *self.windows, *self.joins, *self.labels

    @property
    def past_names(self) -> list[bytes]:
        """Return what the part's state may be called: a part has the name of its first topic, and topics are added."""
        return [part_name(topic).encode() for topic in self.topics]

    @property
    def needs_order(self) -> bool:
        """Return whether records are processed in order of event time as far as their topics' lateness allows."""
        return bool(self.windows or self.joins or self.labels)

    @property
    def merges(self) -> bool:
        """Return whether records of several topics are put in order of event time."""
        return len(self.topics) > 1

    def sorts(self, topic: TopicNode) -> bool:
        """Return whether records of ``topic`` wait until no earlier one may come, and are then taken in order."""
        return topic.upstream is not None or (self.needs_order and topic.max_out_of_orderness_ms > 0)

    def holds(self, topics: Mapping[str, TopicNode]) -> bool:
        """Return whether records may be held back after they were polled, or late ones are set aside."""
        mine = [topics[name] for name in self.topics]
        return self.merges or any(self.sorts(topic) or topic.late != "process" for topic in mine)


def part_name(first_topic: str) -> str:
    """Return the name of the part whose first topic this is; steps of a dataflow may not have dots in their names."""
    return first_topic.replace(".", "_")


@dataclass(frozen=True, slots=True)
class Plan:
    """A whole app."""

    app: str
    topics: Mapping[str, TopicNode]
    features: Mapping[str, FeaturesNode]
    models: Mapping[str, ModelNode]
    agents: Sequence[AgentNode]
    timers: Sequence[TimerNode]
    monitors: Sequence[MonitorNode]
    lifespans: Sequence[Callable[[], Any]]
    parts: Sequence[Part]
    tables: Mapping[str, TableNode] = field(default_factory=dict[str, TableNode])
    global_tables: Mapping[str, GlobalTableNode] = field(default_factory=dict[str, GlobalTableNode], kw_only=True)
    windows: Mapping[str, WindowNode] = field(default_factory=dict[str, WindowNode])
    regroupings: Mapping[str, RegroupNode] = field(default_factory=dict[str, RegroupNode])
    joins: Mapping[str, JoinNode] = field(default_factory=dict[str, JoinNode])
    labels: Mapping[str, LabelsNode] = field(default_factory=dict[str, LabelsNode])
    tees: Sequence[TeeNode] = ()

    @property
    def dead_letter_topic(self) -> str:
        """Return the topic of dead letters."""
        return f"{self.app}-dead-letters"

    @property
    def drift_topic(self) -> str:
        """Return the topic of drift statistics and alarms."""
        return f"{self.app}-drift"

    @property
    def features_topic(self) -> str:
        """Return the topic of feature rows as used."""
        return f"{self.app}-features"

    @property
    def performance_topic(self) -> str:
        """Return the topic of what labels say of predictions."""
        return f"{self.app}-performance"

    @property
    def state_topic(self) -> str:
        """Return the changelog of the partition groups' state."""
        return f"{self.app}-state-changelog"

    def changelog_of(self, name: str) -> str:
        """Return the changelog of the table, window or join ``name``."""
        return f"{self.app}-{name}-changelog"

    @property
    def is_stateful(self) -> bool:
        """Return whether partition groups have state to restore."""
        return bool(self.monitors)

    @property
    def logs_features(self) -> bool:
        """Return whether feature rows are logged."""
        return any(node.log_rate > 0 for node in self.features.values())

    def engine_topics(self) -> list[str]:
        """Return the topics that belong to the engine, under the app's name."""
        stateful = [self.drift_topic, self.state_topic] if self.is_stateful else []
        regrouped = [node.topic for node in self.regroupings.values()]
        changelogs = [self.changelog_of(name) for part in self.parts for name in part.states]
        return [
            self.dead_letter_topic,
            *stateful,
            *([self.features_topic] if self.logs_features else []),
            *([self.performance_topic] if self.labels else []),
            *changelogs,
            *regrouped,
            *(tee.topic for tee in self.tees),
        ]

    def regrouped_from(self, part: Part) -> list[RegroupNode]:
        """Return the regroupings whose source ``part`` reads."""
        return [node for node in self.regroupings.values() if node.source in part.topics]

    def labelled_topics(self, part: Part) -> set[str]:
        """Return the topics of ``part`` from which labels and predictions are read."""
        nodes = [self.labels[name] for name in part.labels]
        return {topic for node in nodes for topic in (node.labels, *node.read_from)}

    def tees_of(self, part: Part) -> list[TeeNode]:
        """Return where copies of predictions go that the agents of ``part`` write."""
        return [tee for tee in self.tees if tee.source in part.topics]

    def fed_by(self, part: Part) -> list[str]:
        """Return the internal topics that ``part`` writes and others read in order of event time."""
        return [node.topic for node in (*self.regrouped_from(part), *self.tees_of(part))]

    @property
    def feeds_itself(self) -> bool:
        """Return whether some parts write what others read in order of event time."""
        return bool(self.regroupings or self.tees)

    def side_topic(self, topic: str) -> str | None:
        """Return where late records of ``topic`` go as they are, if anywhere."""
        late = self.topics[topic].late
        return None if late in get_args(LatePolicy) else late

    def monitor_of(self, model: str) -> MonitorNode | None:
        """Return the monitor of ``model``, if it has one."""
        return next((node for node in self.monitors if node.model == model), None)
