"""The pieces of a plan: what an app declares, one kind each, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

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
