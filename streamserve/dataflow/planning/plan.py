"""What an app declares, as plain data: to be printed, drawn, compared and checked without a broker.

``App`` builds a plan; the compiler turns it into one Bytewax dataflow.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

from streamserve.dataflow.planning.crontab import Crontab
from streamserve.durations import in_words
from streamserve.features.service import JoinOptions

if TYPE_CHECKING:
    from streamserve.aggregates import Aggregate
    from streamserve.monitoring.labels.plan import PerformancePlan
    from streamserve.state.joins import JoinKind
    from streamserve.state.timers import TimerClock
    from streamserve.state.windows import WindowSpec

OnError: TypeAlias = Literal["dead-letter", "skip", "stop"]
"""What happens to a record at fault: one dead letter, dropped and counted, or the worker stops."""

LatePolicy: TypeAlias = Literal["process", "drop", "dead-letter"]
"""What happens to a record whose event time is further behind than its topic allows."""

Ordering: TypeAlias = Literal["key", "partition", "unordered"]
"""In what order an agent's instances take events; the order of outputs is always the input's, per partition."""

Emit: TypeAlias = Literal["close", "change"]
"""When a window's result is written: once it is final, or whenever it changes."""

Per: TypeAlias = Literal["partition", "worker", "app"]
"""How often a timer runs when it is due: for each partition, in each worker, or once in the whole app."""

StoreKind: TypeAlias = Literal["memory", "disk"]
"""Where a table is kept: in the worker's memory, or in a directory of its own."""

GroupKey: TypeAlias = tuple[str, int]
"""Which partition group: a part's name and a partition number."""

AgentKind: TypeAlias = Literal["agent", "batch", "score", "dataflow"]


class Binding:
    """Where the running worker hangs what answers for a declared feature service or model."""

    __slots__ = ("runtime",)

    def __init__(self) -> None:
        self.runtime: Any = None


@dataclass(frozen=True, slots=True)
class TopicNode:
    """A topic: its value type, key and time. Without a value type, values are bytes.

    ``late`` says what becomes of late records: ``process``, ``drop``, ``dead-letter``, or the name of a side topic.
    ``upstream`` is the topic that an internal one is regrouped from. Events further than ``max_future_ms`` ahead of
    their record's Kafka timestamp are not processed whatever ``late`` says.
    """

    name: str
    value_type: type | None = None
    key: str | Callable[[Any], Any] | None = None
    event_time: str | Callable[[Any], Any] | None = None
    max_out_of_orderness_ms: int = 0
    late: str = "process"
    on_error: OnError = "dead-letter"
    upstream: str | None = None
    max_future_ms: int | None = None


@dataclass(frozen=True, slots=True)
class PushNode:
    """Events of ``topic`` go to the feature service's push source before later events are scored."""

    topic: str
    push_source: str


@dataclass(frozen=True, slots=True)
class FeaturesNode:
    """A feature service, asked with the fields of ``event``; ``entity_row`` renames join keys to event fields.

    ``windows`` adds features that come from the app's own windows, by the window's name.
    """

    service: str
    event: type
    row_type: type | None = None
    entity_row: Mapping[str, str] = field(default_factory=dict[str, str])
    log_rate: float = 0.0
    join: JoinOptions = field(default_factory=JoinOptions)
    windows: Mapping[str, str] = field(default_factory=dict[str, str])
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

    ``also_to`` are topics that every output goes to beside ``to``.
    ``function`` is, by kind: what starts an instance (``agent``), what takes values and a maker of records (``batch``),
    what builds an output from event and prediction, or ``None`` (``score``), what builds operators (``dataflow``).
    ``is_scoped`` says that it uses tables or windows.
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
    tables: tuple[str, ...] = ()
    features: str | None = None
    model: str | None = None
    is_scoped: bool = False
    also_to: tuple[str, ...] = ()

    @property
    def outputs(self) -> tuple[str, ...]:
        """Return the topics that every output goes to."""
        return (self.to, *self.also_to) if self.to is not None else ()


@dataclass(frozen=True, slots=True)
class TimerNode:
    """What runs every ``every_ms`` of wall-clock time, or when ``crontab`` says.

    It is a generator whose values go to ``to``, or a coroutine where that is ``None``.
    """

    name: str
    every_ms: int
    to: str | None
    per: Per
    function: Callable[[], Any]
    crontab: Crontab | None = None

    @property
    def when(self) -> str:
        """Return when it runs, in words."""
        if self.crontab is not None:
            return f"at {self.crontab.expression!r} in {self.crontab.timezone}"
        return f"every {in_words(self.every_ms)}"

    def after(self, now_ms: int) -> int:
        """Return when it is due next: at a multiple of its period, or when its crontab says."""
        if self.crontab is not None:
            return self.crontab.after(now_ms)
        return (now_ms // self.every_ms + 1) * self.every_ms


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
class KeyTimerNode:
    """What runs for a key of ``table`` once ``clock`` reaches the key's timer; what it yields goes to ``to``."""

    table: str
    to: str | None
    function: Callable[[Any], Any]
    clock: TimerClock = "event"
    on_error: OnError = "dead-letter"

    @property
    def step(self) -> str:
        """Return its name in dead letters and metrics."""
        return f"{self.table}-timer" if self.clock == "event" else f"{self.table}-{self.clock}-timer"


@dataclass(frozen=True, slots=True)
class TableNode:
    """A table of values by key, local to the partition of the agents that use it; its changelog is named after it."""

    name: str
    value_type: Any
    key_type: type = str
    default: Callable[[], Any] | None = None
    ttl_ms: int | None = None
    migrate: Callable[[Any], Any] | None = None
    store: StoreKind = "memory"
    timers: list[KeyTimerNode] = field(default_factory=list[KeyTimerNode])
    binding: Binding = field(default_factory=Binding, compare=False, repr=False)

    def timer(self, clock: TimerClock) -> KeyTimerNode | None:
        """Return what runs when a key's timer of ``clock`` is due."""
        return next((timer for timer in self.timers if timer.clock == clock), None)


@dataclass(frozen=True, slots=True)
class GlobalTableNode:
    """A topic of which every worker holds the last value of each key."""

    topic: str
    binding: Binding = field(default_factory=Binding, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class WindowNode:
    """An aggregate of the events of ``source`` per key and window of event time.

    ``by`` names fields of the event that divide a key further. Results go to topic ``to`` when a window closes, or with
    every change.
    """

    name: str
    source: str
    aggregate: Aggregate[Any]
    window: WindowSpec
    by: tuple[str, ...] = ()
    to: str | None = None
    emit: Emit = "close"
    output: Callable[[Any], Any] | None = None
    binding: Binding = field(default_factory=Binding, compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class RegroupNode:
    """Records of ``source`` go to the internal ``topic`` under another key: a field's, or what a function gives."""

    name: str
    source: str
    topic: str
    key: str | Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class JoinNode:
    """Pairs of events of topics ``left`` and ``right`` under one key, their times at most ``within_ms`` apart.

    Agents read the pairs under the join's name, as they do a topic's events.
    """

    name: str
    left: str
    right: str
    within_ms: int
    kind: JoinKind

    @property
    def topics(self) -> tuple[str, str]:
        """Return the names of both topics."""
        return self.left, self.right


@dataclass(frozen=True, slots=True)
class LabelsNode:
    """Labels of topic ``labels`` meet predictions of topic ``predictions`` by key, as ``measure`` says.

    ``truth`` reads a label, ``score`` a prediction. ``read_from`` are the topics that predictions are taken from:
    internal copies (``TeeNode``) where the app makes them itself, else their own.
    """

    name: str
    labels: str
    predictions: str
    truth: Callable[[Any], Any]
    score: Callable[[Any], Any]
    measure: PerformancePlan
    read_from: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class TeeNode:
    """What the part that reads ``source`` writes to ``predictions`` also goes to the internal ``topic``."""

    predictions: str
    source: str
    topic: str


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
