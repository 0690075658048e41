"""What happens in the engine, as events. Metrics, logs and test recorders are subclasses; the base does nothing.

Counts are of records, durations are seconds, times are milliseconds since the epoch (UTC). Every method is called once
per batch, commit or run, never once per record.

Events are of two kinds. *Work* is told as it is done, in every try: what an aborted transaction did is told again when
its records come again. *Outcomes* (``OUTCOMES``) are told when the commit that holds them is visible, just before its
``committed``, and those of an aborted transaction never: their sums are those of a ``read_committed`` reader. A commit
whose answer was lost counts as aborted even where the broker turns out to have made it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from streamserve.records import Located

OUTCOMES: Final = (
    "emitted",
    "dead_lettered",
    "skipped",
    "late",
    "features_unlogged",
    "drift_window",
    "drift_alarm",
    "labelled",
    "performance",
)
"""The events that are told once per commit; all others are told per try."""


class Observer:
    """The no-op event surface."""

    def polled(self, topic: str, records: int) -> None:
        """``records`` of ``topic`` were taken from the broker in one poll."""

    def processed(self, step: str, records: int, seconds: float) -> None:
        """Step ``step`` went through a batch of ``records``."""

    def emitted(self, topic: str, records: int) -> None:
        """``records`` became visible in ``topic``."""

    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        """``records`` became dead letters at ``step``; ``reason`` is ``RecordError.reason``, ``message`` the last's."""

    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        """``records`` failed at ``step`` and were dropped by ``on_error="skip"``; ``message`` is the last's."""

    def late(self, step: str, records: int) -> None:
        """``records`` came too late for window ``step`` and were not counted there."""

    def committed(self, records: int, seconds: float) -> None:
        """A transaction over ``records`` inputs became visible; closing it took ``seconds``."""

    def latencies(self, seconds: Sequence[float]) -> None:
        """Delays from input record timestamp to commit, one for each sampled record of a committed transaction."""

    def aborted(self, reason: str, message: str) -> None:
        """An incarnation ended; the worker recovers. ``reason`` is the error's class name, ``message`` its text."""

    def opening_features(self, service: str) -> None:
        """The worker opens feature service ``service``: Feast alone takes seconds to load."""

    def joining(self, group: str) -> None:
        """The worker asked consumer group ``group`` for partitions."""

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        """The consumer group gave this worker exactly ``partitions`` by topic."""

    def restoring(self, read: int, total: int) -> None:
        """Of the changelogs of what is being taken over, ``read`` records of ``total`` are read."""

    def global_table(self, topic: str, keys: int, refused: int) -> None:
        """The global table of ``topic`` holds ``keys`` now; ``refused`` records that were just read are left out."""

    def restored(self, group: str, seconds: float) -> None:
        """The state of partition group ``group`` was read back."""

    def state_discarded(self, state: str, partition: int, reasons: Sequence[str]) -> None:
        """What ``reasons`` name of ``state``, made under another configuration, starts afresh in ``partition``."""

    def lag(self, topic: str, partition: int, records: int) -> None:
        """``records`` of ``topic`` wait behind the position in ``partition``."""

    def features_read(self, service: str, rows: int, cache_hits: int, seconds: float, ages: Sequence[float]) -> None:
        """``rows`` look-ups were answered, ``cache_hits`` of their view reads by the cache; ``ages`` is a sample."""

    def features_pushed(self, source: str, rows: int, stale: int) -> None:
        """``rows`` went to the online store; ``stale`` were older than what it holds and were left out."""

    def features_unlogged(self, service: str, rows: int) -> None:
        """``rows`` hold values that JSON has no form for: used, but left out of the features topic."""

    def model_loaded(self, model: str, version: str, sha256: str, batch_size: int) -> None:
        """Version ``version`` of ``model`` answers from now on, in runs of up to ``batch_size`` rows."""

    def model_run(self, model: str, rows: int, rejected: int, seconds: float) -> None:
        """The model scored ``rows`` and refused ``rejected`` of them."""

    def drift_window(
        self, model: str, column: str, slice_: str, partition: int, statistics: Mapping[str, float | int | None]
    ) -> None:
        """A window of ``column`` closed in partition group ``partition`` with these figures."""

    def drift_alarm(self, model: str, column: str, detector: str, partition: int, event_time_ms: int) -> None:
        """``detector`` of partition group ``partition`` signalled a change in ``column`` at that event time."""

    def labelled(self, labels: str, status: str, records: int) -> None:
        """``records`` of predictions, labels or pairs ended with ``status`` in the label join ``labels``."""

    def performance(
        self,
        labels: str,
        model: str,
        version: str,
        slice_: str,
        window: str,
        partition: int,
        figures: Mapping[str, float],
    ) -> None:
        """Metrics of a model in partition group ``partition``: of its ``"last"`` closed window, or of ``"all"`` time.

        ``version`` and ``slice_`` are empty for all together.
        """

    def paused(self, paused: bool, why: str) -> None:
        """The app's control topic told this worker to pause, or to process; ``why`` says since when it is paused.

        Told once to each incarnation of the engine, and at each change.
        """

    def ready(self, ready: bool, why: str) -> None:
        """Readiness changed; ``why`` says what is waited for, empty when ready."""

    def entered(self, kind: str, name: str, at: Located | None = None) -> None:
        """The engine begins what may take long: an agent, a step, a model, a call into Kafka. ``left`` follows.

        Others may begin inside, each left before what it began in; what is not left ends with the next ``progress``.
        ``at`` tells, as long as it runs, which records are worked on. In the engine's thread, as everything here.
        """

    def left(self) -> None:
        """What was ``entered`` last is over, whether it returned or raised."""

    def progress(self) -> None:
        """The engine went once around its loop (the watchdog's sign of life)."""


class Observers(Observer):
    """Hands each event to several observers, in order; those whose class leaves it to the base are not called.

    >>> Observers([Observer(), Observer()]).progress()
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._listeners: dict[str, list[Callable[..., None]]] = {
            event: [tell for observer in observers for tell in _listening(observer, event)] for event in _EVENTS
        }

    def listeners(self, event: str) -> Sequence[Callable[..., None]]:
        """Return what ``event`` is told to, in order."""
        return self._listeners[event]


def _fan_out(event: str) -> Callable[..., None]:
    """Return the method that hands ``event`` to every member."""

    def tell(self: Observers, *args: object) -> None:
        for listen in self.listeners(event):
            listen(*args)

    return tell


_EVENTS: Final = tuple(name for name in vars(Observer) if not name.startswith("_"))

for _event in _EVENTS:
    setattr(Observers, _event, _fan_out(_event))


def _listening(observer: Observer, event: str) -> Sequence[Callable[..., None]]:
    """Return the methods behind ``observer`` that do something at ``event``: of those behind several, each its own."""
    method: Any = getattr(observer, event)
    function = getattr(method, "__func__", None)  # what was put on the object itself has none
    if isinstance(observer, Observers) and function is vars(Observers)[event]:
        return observer.listeners(event)
    return () if function is vars(Observer)[event] else (method,)


class CommittedOutcomes(Observers):
    """Holds outcomes back until they are committed, and forgets those that were aborted; work passes at once.

    The worker puts it before its observer. Counts of one kind are told as one sum.

    >>> class Printer(Observer):
    ...     def emitted(self, topic: str, records: int) -> None:
    ...         print(topic, records)
    >>> outcomes = CommittedOutcomes(Printer())
    >>> outcomes.emitted("delays", 7)
    >>> outcomes.aborted("TransactionAborted", "the broker restarted")
    >>> outcomes.emitted("delays", 3)
    >>> outcomes.emitted("delays", 4)
    >>> outcomes.committed(7, 0.003)
    delays 7
    """

    def __init__(self, observer: Observer) -> None:
        super().__init__([observer])
        self._counts: Counter[tuple[str, ...]] = Counter()
        self._messages: dict[tuple[str, ...], str] = {}
        self._drift: list[Callable[[], None]] = []

    def emitted(self, topic: str, records: int) -> None:
        """Add to the sum of ``topic``."""
        self._counts["emitted", topic] += records

    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        """Add to the sum of ``step`` and ``reason``, and keep the last message."""
        self._counts["dead_lettered", step, reason] += records
        self._messages["dead_lettered", step, reason] = message

    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        """Add to the sum of ``step`` and ``reason``, and keep the last message."""
        self._counts["skipped", step, reason] += records
        self._messages["skipped", step, reason] = message

    def late(self, step: str, records: int) -> None:
        """Add to the sum of ``step``."""
        self._counts["late", step] += records

    def features_unlogged(self, service: str, rows: int) -> None:
        """Add to the sum of ``service``."""
        self._counts["features_unlogged", service] += rows

    def labelled(self, labels: str, status: str, records: int) -> None:
        """Add to the sum of ``labels`` and ``status``."""
        self._counts["labelled", labels, status] += records

    def performance(
        self,
        labels: str,
        model: str,
        version: str,
        slice_: str,
        window: str,
        partition: int,
        figures: Mapping[str, float],
    ) -> None:
        """Keep the metrics."""
        told = super().performance
        self._drift.append(partial(told, labels, model, version, slice_, window, partition, figures))

    def drift_window(
        self, model: str, column: str, slice_: str, partition: int, statistics: Mapping[str, float | int | None]
    ) -> None:
        """Keep the window."""
        self._drift.append(partial(super().drift_window, model, column, slice_, partition, statistics))

    def drift_alarm(self, model: str, column: str, detector: str, partition: int, event_time_ms: int) -> None:
        """Keep the alarm."""
        self._drift.append(partial(super().drift_alarm, model, column, detector, partition, event_time_ms))

    def committed(self, records: int, seconds: float) -> None:
        """Tell what was held back, then the commit."""
        for key, count in self._counts.items():
            event, *names = key
            message = (self._messages[key],) if key in self._messages else ()
            for tell in self.listeners(event):
                tell(*names, count, *message)
        for tell_drift in self._drift:
            tell_drift()
        self._forget()
        super().committed(records, seconds)

    def aborted(self, reason: str, message: str) -> None:
        """Forget what was held back."""
        self._forget()
        super().aborted(reason, message)

    def _forget(self) -> None:
        self._counts.clear()
        self._messages.clear()
        self._drift.clear()
