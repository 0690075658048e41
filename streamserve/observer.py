"""What happens in the engine, as events. Metrics, logs and test recorders are subclasses; the base does nothing.

Counts are of records, durations are seconds, times are milliseconds since the epoch (UTC). Every method is called once
per batch, commit or run, never once per record.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence


class Observer:
    """The no-op event surface."""

    def polled(self, topic: str, records: int) -> None:
        """``records`` of ``topic`` were taken from the broker in one poll."""

    def processed(self, step: str, records: int, seconds: float) -> None:
        """Step ``step`` went through a batch of ``records``."""

    def emitted(self, topic: str, records: int) -> None:
        """``records`` were handed to the producer for ``topic``."""

    def dead_lettered(self, step: str, reason: str, records: int) -> None:
        """``records`` became dead letters at ``step``; ``reason`` is ``RecordError.reason``."""

    def skipped(self, step: str, reason: str, records: int) -> None:
        """``records`` failed at ``step`` and were dropped by ``on_error="skip"``."""

    def committed(self, records: int, seconds: float) -> None:
        """A transaction over ``records`` inputs became visible; closing it took ``seconds``."""

    def latencies(self, seconds: Sequence[float]) -> None:
        """Delays from input record timestamp to commit, one for each sampled record of a committed transaction."""

    def aborted(self, reason: str, message: str) -> None:
        """An incarnation ended; the worker recovers. ``reason`` is the error's class name, ``message`` its text."""

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        """The consumer group gave this worker exactly ``partitions`` by topic."""

    def restored(self, group: str, seconds: float) -> None:
        """The state of partition group ``group`` was read back."""

    def lag(self, topic: str, partition: int, records: int) -> None:
        """``records`` of ``topic`` wait behind the position in ``partition``."""

    def features_read(self, service: str, rows: int, cache_hits: int, seconds: float, ages: Sequence[float]) -> None:
        """``rows`` look-ups were answered, ``cache_hits`` of their view reads by the cache; ``ages`` is a sample."""

    def features_pushed(self, source: str, rows: int, stale: int) -> None:
        """``rows`` went to the online store; ``stale`` were older than what it holds and were left out."""

    def model_loaded(self, model: str, version: str, sha256: str, batch_size: int) -> None:
        """Version ``version`` of ``model`` answers from now on, in runs of up to ``batch_size`` rows."""

    def model_run(self, model: str, rows: int, rejected: int, seconds: float) -> None:
        """The model scored ``rows`` and refused ``rejected`` of them."""

    def drift_window(self, model: str, column: str, slice_: str, statistics: Mapping[str, float | int | None]) -> None:
        """A window of ``column`` closed with these figures."""

    def drift_alarm(self, model: str, column: str, detector: str, event_time_ms: int) -> None:
        """``detector`` signalled a change in ``column`` at event time ``event_time_ms``."""

    def ready(self, ready: bool, why: str) -> None:
        """Readiness changed; ``why`` says what is waited for, empty when ready."""

    def progress(self) -> None:
        """The engine went once around its loop (the watchdog's sign of life)."""


class Observers(Observer):
    """Hands each event to several observers, in order.

    >>> Observers([Observer(), Observer()]).progress()
    """

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = tuple(observers)

    @property
    def members(self) -> tuple[Observer, ...]:
        """Return the observers, in the order in which they are told."""
        return self._observers


def _fan_out(event: str) -> Callable[..., None]:
    """Return the method that hands ``event`` to every member."""

    def tell(self: Observers, *args: object) -> None:
        for observer in self.members:
            getattr(observer, event)(*args)

    return tell


for _event in [name for name in vars(Observer) if not name.startswith("_")]:
    setattr(Observers, _event, _fan_out(_event))
