"""What an app declares, as plain data: to be printed, drawn, compared and checked without a broker.

``App`` builds a plan; the compiler turns it into one Bytewax dataflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from streamserve.features.service import JoinOptions

OnError: TypeAlias = Literal["dead-letter", "skip", "stop"]
"""What happens to a record at fault: one dead letter, dropped and counted, or the worker stops."""

Ordering: TypeAlias = Literal["key", "partition", "unordered"]
"""In what order an agent's instances take events; the order of outputs is always the input's, per partition."""

AgentKind: TypeAlias = Literal["agent", "batch", "score", "dataflow"]


class Binding:
    """Where the running worker hangs what answers for a declared feature service or model."""

    __slots__ = ("runtime",)

    def __init__(self) -> None:
        self.runtime: Any = None


@dataclass(frozen=True, slots=True)
class TopicNode:
    """A topic: its value type, key and time. Without a value type, values are bytes."""

    name: str
    value_type: type | None = None
    key: str | Callable[[Any], Any] | None = None
    event_time: str | Callable[[Any], Any] | None = None
    max_out_of_orderness_ms: int = 0
    on_error: OnError = "dead-letter"


@dataclass(frozen=True, slots=True)
class PushNode:
    """Events of ``topic`` go to the feature service's push source before later events are scored."""

    topic: str
    push_source: str


@dataclass(frozen=True, slots=True)
class FeaturesNode:
    """A feature service, asked with the fields of ``event``; ``entity_row`` renames join keys to event fields."""

    service: str
    event: type
    row_type: type | None = None
    entity_row: Mapping[str, str] = field(default_factory=dict[str, str])
    log_rate: float = 0.0
    join: JoinOptions = field(default_factory=JoinOptions)
    pushes: list[PushNode] = field(default_factory=list[PushNode])
    binding: Binding = field(default_factory=Binding, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ModelNode:
    """A model by alias, or pinned to a version; ``inputs`` are event types and feature services' names."""

    name: str
    output: type
    inputs: tuple[type | str, ...] = ()
    version: str | None = None
    alias: str = "champion"
    binding: Binding = field(default_factory=Binding, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class AgentNode:
    """An agent of any level: what it reads, what it writes, how it runs.

    ``function`` is, by kind: what starts an instance (``agent``), what takes values and a maker of records (``batch``),
    what builds an output from event and prediction, or ``None`` (``score``), what builds operators (``dataflow``).
    """

    name: str
    kind: AgentKind
    sources: tuple[str, ...]
    to: str | None
    function: Callable[..., Any] | None = None
    ordering: Ordering = "key"
    io: bool = False
    on_error: OnError = "dead-letter"
    max_size: int = 4096
    features: str | None = None
    model: str | None = None


@dataclass(frozen=True, slots=True)
class TimerNode:
    """A generator that runs every ``every_ms`` of wall-clock time, per owned partition or per worker."""

    name: str
    every_ms: int
    to: str
    per: Literal["partition", "worker"]
    function: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class MonitorNode:
    """Statistics and drift detection of one model's inputs and predictions."""

    model: str
    detectors: tuple[Any, ...]
    window_ms: int
    slices: tuple[str, ...] = ()
    columns: tuple[str, ...] | None = None
    detector_columns: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Topics that are read together because agents connect them, and those agents.

    Partition *p* of all its topics is one partition group: it is owned, restored and committed as one.
    """

    name: str
    topics: tuple[str, ...]
    agents: tuple[AgentNode, ...]
    push_topics: frozenset[str]

    @property
    def merges(self) -> bool:
        """Return whether records of several topics are put in order of event time."""
        return len(self.topics) > 1


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
    def state_topic(self) -> str:
        """Return the changelog of the partition groups' state."""
        return f"{self.app}-state-changelog"

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
        return [self.dead_letter_topic, *stateful, *([self.features_topic] if self.logs_features else [])]

    def monitor_of(self, model: str) -> MonitorNode | None:
        """Return the monitor of ``model``, if it has one."""
        return next((node for node in self.monitors if node.model == model), None)
