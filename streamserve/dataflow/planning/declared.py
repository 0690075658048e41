"""What an app has declared so far, as nodes; ``planner`` makes a plan of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

from streamserve.dataflow.planning.nodes import (
    AgentNode,
    FeaturesNode,
    GlobalTableNode,
    JoinNode,
    LabelsNode,
    ModelNode,
    MonitorNode,
    RegroupNode,
    TableNode,
    TimerNode,
    TopicNode,
    WindowNode,
)


@dataclass(slots=True)
class Declared:
    """The nodes of an app, by name."""

    app: str
    topics: dict[str, TopicNode] = field(default_factory=dict[str, TopicNode])
    features: dict[str, FeaturesNode] = field(default_factory=dict[str, FeaturesNode])
    models: dict[str, ModelNode] = field(default_factory=dict[str, ModelNode])
    agents: dict[str, AgentNode] = field(default_factory=dict[str, AgentNode])
    timers: dict[str, TimerNode] = field(default_factory=dict[str, TimerNode])
    monitors: dict[str, MonitorNode] = field(default_factory=dict[str, MonitorNode])
    tables: dict[str, TableNode] = field(default_factory=dict[str, TableNode])
    global_tables: dict[str, GlobalTableNode] = field(default_factory=dict[str, GlobalTableNode])
    windows: dict[str, WindowNode] = field(default_factory=dict[str, WindowNode])
    regroupings: dict[str, RegroupNode] = field(default_factory=dict[str, RegroupNode])
    joins: dict[str, JoinNode] = field(default_factory=dict[str, JoinNode])
    labels: dict[str, LabelsNode] = field(default_factory=dict[str, LabelsNode])
    commands: dict[str, Callable[..., Any]] = field(default_factory=dict[str, Callable[..., Any]])
    lifespans: list[Callable[[], AsyncIterator[None]]] = field(default_factory=list[Callable[[], AsyncIterator[None]]])
