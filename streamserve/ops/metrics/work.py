"""What the worker does: records, commits, assignments and stalls."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

from prometheus_client import CollectorRegistry
from typing_extensions import override

from streamserve.observer import Observer
from streamserve.ops.health import Liveness
from streamserve.ops.metrics.instruments import (
    LATENCY_BUCKETS,
    RESTORE_BUCKETS,
    SIZE_BUCKETS,
    PartitionGauge,
    counter,
    gauge,
    histogram,
)


class RecordMetrics(Observer):
    """Records through the steps, and those that failed there."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._polled = counter(registry, "records_polled", "Records taken from the broker.", "topic")
        self._emitted = counter(registry, "records_emitted", "Records committed to a topic.", "topic")
        self._processed = counter(registry, "records_processed", "Records that went through a step.", "step")
        self._batches = histogram(registry, "batch_records", "Records in a batch.", "step", SIZE_BUCKETS)
        self._seconds = histogram(registry, "step_seconds", "Time of a step for a batch.", "step", LATENCY_BUCKETS)
        self._dead = counter(registry, "dead_letters", "Records that became dead letters.", "step", "reason")
        self._skipped = counter(registry, "records_skipped", "Failed records that were dropped.", "step", "reason")
        self._late = counter(registry, "records_late", "Records that came too late to be counted.", "window")

    @override
    def polled(self, topic: str, records: int) -> None:
        self._polled.labels(topic).inc(records)

    @override
    def processed(self, step: str, records: int, seconds: float) -> None:
        self._processed.labels(step).inc(records)
        self._batches.observe((records,), step)
        self._seconds.observe((seconds,), step)

    @override
    def emitted(self, topic: str, records: int) -> None:
        self._emitted.labels(topic).inc(records)

    @override
    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        del message
        self._dead.labels(step, reason).inc(records)

    @override
    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        del message
        self._skipped.labels(step, reason).inc(records)

    @override
    def late(self, step: str, records: int) -> None:
        self._late.labels(step).inc(records)


class CommitMetrics(Observer):
    """Transactions and the worker's life."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = counter(registry, "records_committed", "Input records of committed transactions.")
        self._sizes = histogram(registry, "commit_records", "Input records of a transaction.", None, SIZE_BUCKETS)
        self._seconds = histogram(registry, "commit_seconds", "Time to close a transaction.", None, LATENCY_BUCKETS)
        self._latency = histogram(
            registry,
            "event_to_commit_seconds",
            "From a record's timestamp to the commit that shows its prediction.",
            None,
            LATENCY_BUCKETS,
        )
        self._restarts = counter(registry, "restarts", "Recoveries of the engine, by what ended it.", "reason")
        self._ready = gauge(registry, "ready", "1 while the worker is ready to serve, else 0.")
        self._paused = gauge(registry, "paused", "1 while the app is told to pause, else 0.")
        self._turns = counter(registry, "loop_turns", "Times that the engine went around its loop.")

    @override
    def committed(self, records: int, seconds: float) -> None:
        self._records.inc(records)
        self._sizes.observe((records,))
        self._seconds.observe((seconds,))

    @override
    def latencies(self, seconds: Sequence[float]) -> None:
        # a producer's clock may be ahead, but a histogram's sum must not fall
        self._latency.observe([max(0.0, each) for each in seconds])

    @override
    def aborted(self, reason: str, message: str) -> None:
        del message
        self._restarts.labels(reason).inc()

    @override
    def ready(self, ready: bool, why: str) -> None:
        del why
        self._ready.set(ready)

    @override
    def paused(self, paused: bool, why: str) -> None:
        del why
        self._paused.set(paused)

    @override
    def progress(self) -> None:
        self._turns.inc()


class StallMetrics:
    """Whether the engine stands still, and what it does (a ``StallListener``); and whether it died before.

    The series that names call and place exists while it stands: one, with the offset of the first record in hand.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._crashes = gauge(registry, "crashes", "Native deaths before this process that are being looked into.")
        self._stalled = gauge(registry, "stalled", "1 while the engine stands still, else 0.")
        self._stalls = counter(registry, "stalls", "Times that the engine stood still, by what it did.", "call")
        self._seconds = gauge(
            registry,
            "stalled_seconds",
            "How long the engine has stood, and at what.",
            *("call", "agent", "topic", "partition", "offset"),
        )

    def ask_crashes(self, deaths: Callable[[], int]) -> None:
        """Ask ``deaths`` at each scrape how many of this worker's processes died natively."""
        self._crashes.set_function(deaths)

    def stalled(self, liveness: Liveness) -> None:
        """Count the stall."""
        self._stalled.set(1)
        self._stalls.labels(liveness.call).inc()

    def standing(self, liveness: Liveness) -> None:
        """Show how long it has lasted."""
        agent = next((each.removeprefix("agent ") for each in liveness.doing if each.startswith("agent ")), "")
        place = map(str, liveness.at[0][:3]) if liveness.at else ("", "", "")
        self._seconds.clear()
        self._seconds.labels(liveness.call, agent, *place).set(liveness.seconds)

    def moving(self, seconds: float) -> None:
        """Show that it is over."""
        del seconds
        self._stalled.set(0)
        self._seconds.clear()


class AssignmentMetrics(Observer):
    """What the consumer group gave this worker, and how far behind it is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rebalances = counter(registry, "rebalances", "Assignments that this worker got.")
        self._partitions = gauge(registry, "assigned_partitions", "Partitions that this worker reads.", "topic")
        self._restores = histogram(registry, "restore_seconds", "Time to read state back.", None, RESTORE_BUCKETS)
        self._read = gauge(registry, "restore_read_records", "Changelog records read by the restore that runs.")
        self._total = gauge(registry, "restore_expected_records", "Changelog records that the restore has to read.")
        self._global_keys = gauge(registry, "global_table_keys", "Keys of a topic that is held whole.", "topic")
        self._global_refused = counter(
            registry, "global_table_records_refused", "Records left out of a global table.", "topic"
        )
        self._discarded = counter(registry, "state_discarded", "Restores that left something behind.", "state")
        self._lag = PartitionGauge(registry, "lag_records", "Records behind the position.", "topic", "partition")

    @override
    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        self._rebalances.inc()
        owned = {(topic, str(number)) for topic, numbers in partitions.items() for number in numbers}
        self._lag.remove(lambda labels: labels not in owned)
        self._partitions.clear()
        for topic, numbers in partitions.items():
            self._partitions.labels(topic).set(len(numbers))

    @override
    def restoring(self, read: int, total: int) -> None:
        self._read.set(read)
        self._total.set(total)

    @override
    def global_table(self, topic: str, keys: int, refused: int) -> None:
        self._global_keys.labels(topic).set(keys)
        self._global_refused.labels(topic).inc(refused)

    @override
    def restored(self, group: str, seconds: float) -> None:
        del group
        self._restores.observe((seconds,))

    @override
    def state_discarded(self, state: str, partition: int, reasons: Sequence[str]) -> None:
        del partition, reasons
        self._discarded.labels(state).inc()

    @override
    def lag(self, topic: str, partition: int, records: int) -> None:
        self._lag.set(records, topic, str(partition))
