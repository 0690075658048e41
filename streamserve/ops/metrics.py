"""Prometheus metrics, as one observer: the only home of ``prometheus_client``.

Every name begins with ``streamserve_`` and follows Prometheus' naming rules (base units, ``_total`` on counters).
Labels are names from the app's plan, partition numbers, error classes and model versions, never keys or values of
records. Drift statistics, whose slices come from data, are limited in number; what is beyond is counted. Gauges of a
partition leave with it: its next owner reports them. Records emitted, failed and skipped, and drift, are those of
committed transactions (see ``observer``); all else counts work, that of aborted transactions included.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streamserve.observer import Observer, Observers
from streamserve.ops.health import Liveness

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of what ``PrometheusObserver.render`` returns."""

LATENCY_BUCKETS: Final = (0.001, 0.0025, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Seconds from event to prediction and of single steps: fine around 5 ms, where an idle app commits."""

RESTORE_BUCKETS: Final = (0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0)
"""Seconds that reading state back takes."""

AGE_BUCKETS: Final = (1.0, 10.0, 60.0, 300.0, 900.0, 3600.0, 6 * 3600.0, 86400.0, 7 * 86400.0)
"""Seconds that a feature value may be old: from streamed to weekly."""

SIZE_BUCKETS: Final = tuple(float(4**power) for power in range(9))
"""Records or rows in a batch, from 1 to 65,536."""


class SampledHistogram(Collector):
    """A histogram that takes a batch of values in one call, by a fixed set of label values.

    An observation is a bisection, without the lock of ``prometheus_client.Histogram.observe`` (3.5 µs each).
    One thread observes; a scrape from another sees each batch in part at worst.
    """

    def __init__(self, name: str, help_: str, label: str | None, bounds: Sequence[float]) -> None:
        self._name = name
        self._help = help_
        self._labels = () if label is None else (label,)
        self._bounds = tuple(bounds)
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}
        if label is None:
            self.observe((), "")

    def observe(self, values: Sequence[float], of: str = "") -> None:
        """Count ``values`` under label value ``of``."""
        counts = self._counts.get(of)
        if counts is None:
            self._sums[of] = 0.0  # before the counts, by which a scrape finds it
            counts = self._counts[of] = [0] * (len(self._bounds) + 1)
        bounds = self._bounds
        for value in values:
            counts[bisect_left(bounds, value)] += 1
        self._sums[of] += sum(values)

    def collect(self) -> Iterator[Metric]:
        """Yield the histogram in Prometheus' cumulative form."""
        family = HistogramMetricFamily(self._name, self._help, labels=self._labels)
        for of, counts in list(self._counts.items()):
            family.add_metric([of] if self._labels else [], self._cumulative(counts[:]), self._sums[of])
        yield family

    def _cumulative(self, counts: list[int]) -> list[tuple[str, float]]:
        total = 0
        buckets: list[tuple[str, float]] = []
        for bound, count in zip((*self._bounds, float("inf")), counts, strict=True):
            total += count
            buckets.append(("+Inf" if bound == float("inf") else repr(bound), total))
        return buckets


class PrometheusObserver(Observers):
    """Keeps the metrics of one app in a registry of its own, with those of the process.

    ``max_drift_series`` limits the gauges of drift statistics, and those of live performance, each of all partitions
    together; a new series beyond it is dropped and counted in ``streamserve_drift_series_dropped_total``, or
    ``streamserve_performance_series_dropped_total``.

    >>> metrics = PrometheusObserver("flights")
    >>> metrics.committed(500, 0.003)
    >>> b"streamserve_records_committed_total 500.0" in metrics.render()
    True
    """

    def __init__(self, app: str, *, max_drift_series: int = 5_000) -> None:
        self.registry: CollectorRegistry = _Registry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        _gauge(self.registry, "app_info", "The app that this worker runs.", "app").labels(app).set(1)
        self.stalls = StallMetrics(self.registry)
        """To be told of stalls by the watchdog."""
        _gauge(self.registry, "build_info", "The release that this worker runs.", "version").labels(_release()).set(1)
        super().__init__(
            [
                _RecordMetrics(self.registry),
                _CommitMetrics(self.registry),
                _AssignmentMetrics(self.registry),
                _FeatureMetrics(self.registry),
                _ModelMetrics(self.registry),
                _DriftMetrics(self.registry, max_drift_series),
                _LabelMetrics(self.registry, max_drift_series),
            ]
        )

    def render(self) -> bytes:
        """Return all metrics in Prometheus' text format (``CONTENT_TYPE``)."""
        return generate_latest(self.registry)


def _release() -> str:
    """Return the installed version of streamserve, ``unknown`` where only its source tree is on the path."""
    try:
        return version("streamserve")
    except PackageNotFoundError:
        return "unknown"


class _Registry(CollectorRegistry):
    """Leaves out the ``_created`` series, which double the counters and which Prometheus' server does not use."""

    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def _counter(registry: CollectorRegistry, name: str, help_: str, *labels: str) -> Counter:
    return Counter(f"streamserve_{name}", help_, labels, registry=registry)


def _gauge(registry: CollectorRegistry, name: str, help_: str, *labels: str) -> Gauge:
    return Gauge(f"streamserve_{name}", help_, labels, registry=registry)


def _histogram(
    registry: CollectorRegistry, name: str, help_: str, label: str | None, bounds: Sequence[float]
) -> SampledHistogram:
    histogram = SampledHistogram(f"streamserve_{name}", help_, label, bounds)
    registry.register(histogram)
    return histogram


class _PartitionGauge:
    """A gauge with a label for the partition, whose series go when it goes."""

    def __init__(self, registry: CollectorRegistry, name: str, help_: str, *labels: str) -> None:
        self._gauge = _gauge(registry, name, help_, *labels)
        self._series: set[tuple[str, ...]] = set()

    def __len__(self) -> int:
        return len(self._series)

    def __contains__(self, labels: tuple[str, ...]) -> bool:
        return labels in self._series

    def set(self, value: float, *labels: str) -> None:
        self._series.add(labels)
        self._gauge.labels(*labels).set(value)

    def remove(self, left: Callable[[tuple[str, ...]], bool]) -> None:
        """Remove the series of which ``left`` says that their partition is another worker's."""
        for labels in filter(left, tuple(self._series)):
            self._series.remove(labels)
            self._gauge.remove(*labels)


class _RecordMetrics(Observer):
    """Records through the steps, and those that failed there."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._polled = _counter(registry, "records_polled", "Records taken from the broker.", "topic")
        self._emitted = _counter(registry, "records_emitted", "Records committed to a topic.", "topic")
        self._processed = _counter(registry, "records_processed", "Records that went through a step.", "step")
        self._batches = _histogram(registry, "batch_records", "Records in a batch.", "step", SIZE_BUCKETS)
        self._seconds = _histogram(registry, "step_seconds", "Time of a step for a batch.", "step", LATENCY_BUCKETS)
        self._dead = _counter(registry, "dead_letters", "Records that became dead letters.", "step", "reason")
        self._skipped = _counter(registry, "records_skipped", "Failed records that were dropped.", "step", "reason")
        self._late = _counter(registry, "records_late", "Records that came too late to be counted.", "window")

    def polled(self, topic: str, records: int) -> None:
        self._polled.labels(topic).inc(records)

    def processed(self, step: str, records: int, seconds: float) -> None:
        self._processed.labels(step).inc(records)
        self._batches.observe((records,), step)
        self._seconds.observe((seconds,), step)

    def emitted(self, topic: str, records: int) -> None:
        self._emitted.labels(topic).inc(records)

    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        del message
        self._dead.labels(step, reason).inc(records)

    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        del message
        self._skipped.labels(step, reason).inc(records)

    def late(self, step: str, records: int) -> None:
        self._late.labels(step).inc(records)


class _CommitMetrics(Observer):
    """Transactions and the worker's life."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._records = _counter(registry, "records_committed", "Input records of committed transactions.")
        self._sizes = _histogram(registry, "commit_records", "Input records of a transaction.", None, SIZE_BUCKETS)
        self._seconds = _histogram(registry, "commit_seconds", "Time to close a transaction.", None, LATENCY_BUCKETS)
        self._latency = _histogram(
            registry,
            "event_to_commit_seconds",
            "From a record's timestamp to the commit that shows its prediction.",
            None,
            LATENCY_BUCKETS,
        )
        self._restarts = _counter(registry, "restarts", "Recoveries of the engine, by what ended it.", "reason")
        self._ready = _gauge(registry, "ready", "1 while the worker is ready to serve, else 0.")
        self._paused = _gauge(registry, "paused", "1 while the app is told to pause, else 0.")
        self._turns = _counter(registry, "loop_turns", "Times that the engine went around its loop.")

    def committed(self, records: int, seconds: float) -> None:
        self._records.inc(records)
        self._sizes.observe((records,))
        self._seconds.observe((seconds,))

    def latencies(self, seconds: Sequence[float]) -> None:
        # a producer's clock may be ahead, but a histogram's sum must not fall
        self._latency.observe([max(0.0, each) for each in seconds])

    def aborted(self, reason: str, message: str) -> None:
        del message
        self._restarts.labels(reason).inc()

    def ready(self, ready: bool, why: str) -> None:
        del why
        self._ready.set(ready)

    def paused(self, paused: bool, why: str) -> None:
        del why
        self._paused.set(paused)

    def progress(self) -> None:
        self._turns.inc()


class StallMetrics:
    """Whether the engine stands still, and what it does (a ``StallListener``); and whether it died before.

    The series that names call and place exists while it stands: one, with the offset of the first record in hand.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._crashes = _gauge(registry, "crashes", "Native deaths before this process that are being looked into.")
        self._stalled = _gauge(registry, "stalled", "1 while the engine stands still, else 0.")
        self._stalls = _counter(registry, "stalls", "Times that the engine stood still, by what it did.", "call")
        self._seconds = _gauge(
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


class _AssignmentMetrics(Observer):
    """What the consumer group gave this worker, and how far behind it is."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rebalances = _counter(registry, "rebalances", "Assignments that this worker got.")
        self._partitions = _gauge(registry, "assigned_partitions", "Partitions that this worker reads.", "topic")
        self._restores = _histogram(registry, "restore_seconds", "Time to read state back.", None, RESTORE_BUCKETS)
        self._read = _gauge(registry, "restore_read_records", "Changelog records read by the restore that runs.")
        self._total = _gauge(registry, "restore_expected_records", "Changelog records that the restore has to read.")
        self._global_keys = _gauge(registry, "global_table_keys", "Keys of a topic that is held whole.", "topic")
        self._global_refused = _counter(
            registry, "global_table_records_refused", "Records left out of a global table.", "topic"
        )
        self._discarded = _counter(registry, "state_discarded", "Restores that left something behind.", "state")
        self._lag = _PartitionGauge(registry, "lag_records", "Records behind the position.", "topic", "partition")

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        self._rebalances.inc()
        owned = {(topic, str(number)) for topic, numbers in partitions.items() for number in numbers}
        self._lag.remove(lambda labels: labels not in owned)
        self._partitions.clear()
        for topic, numbers in partitions.items():
            self._partitions.labels(topic).set(len(numbers))

    def restoring(self, read: int, total: int) -> None:
        self._read.set(read)
        self._total.set(total)

    def global_table(self, topic: str, keys: int, refused: int) -> None:
        self._global_keys.labels(topic).set(keys)
        self._global_refused.labels(topic).inc(refused)

    def restored(self, group: str, seconds: float) -> None:
        del group
        self._restores.observe((seconds,))

    def state_discarded(self, state: str, partition: int, reasons: Sequence[str]) -> None:
        del partition, reasons
        self._discarded.labels(state).inc()

    def lag(self, topic: str, partition: int, records: int) -> None:
        self._lag.set(records, topic, str(partition))


class _FeatureMetrics(Observer):
    """Feature look-ups and pushes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows = _counter(registry, "feature_rows", "Feature rows looked up.", "service")
        self._hits = _counter(registry, "feature_cache_hits", "View reads answered by the cache.", "service")
        self._seconds = _histogram(
            registry, "feature_read_seconds", "Time of a batched look-up.", "service", LATENCY_BUCKETS
        )
        self._ages = _histogram(
            registry, "feature_age_seconds", "Age of sampled feature values at their event.", "service", AGE_BUCKETS
        )
        self._pushed = _counter(registry, "feature_rows_pushed", "Rows written to the online store.", "source")
        self._stale = _counter(registry, "feature_rows_stale", "Rows left out, older than the store's.", "source")
        self._unlogged = _counter(registry, "feature_rows_unlogged", "Rows with values that JSON lacks.", "service")

    def features_read(self, service: str, rows: int, cache_hits: int, seconds: float, ages: Sequence[float]) -> None:
        self._rows.labels(service).inc(rows)
        self._hits.labels(service).inc(cache_hits)
        self._seconds.observe((seconds,), service)
        self._ages.observe(ages, service)

    def features_pushed(self, source: str, rows: int, stale: int) -> None:
        self._pushed.labels(source).inc(rows)
        self._stale.labels(source).inc(stale)

    def features_unlogged(self, service: str, rows: int) -> None:
        self._unlogged.labels(service).inc(rows)


class _ModelMetrics(Observer):
    """Models and their runs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._info = _gauge(registry, "model_info", "1 for the version that answers.", "model", "version", "sha256")
        self._limit = _gauge(registry, "model_max_batch_rows", "Most rows in one run.", "model")
        self._loaded_at = _gauge(
            registry, "model_loaded_timestamp_seconds", "When the version that answers was loaded.", "model"
        )
        self._loads = _counter(registry, "model_loads", "Versions loaded.", "model")
        self._rows = _counter(registry, "model_rows", "Rows scored.", "model")
        self._rejected = _counter(registry, "model_rows_rejected", "Rows that the model refused.", "model")
        self._sizes = _histogram(registry, "model_batch_rows", "Rows in a run.", "model", SIZE_BUCKETS)
        self._seconds = _histogram(registry, "model_run_seconds", "Time of a run.", "model", LATENCY_BUCKETS)
        self._current: dict[str, tuple[str, str]] = {}

    def model_loaded(self, model: str, version: str, sha256: str, batch_size: int) -> None:
        if model in self._current:
            self._info.remove(model, *self._current[model])
        self._current[model] = (version, sha256)
        self._info.labels(model, version, sha256).set(1)
        self._limit.labels(model).set(batch_size)
        self._loaded_at.labels(model).set_to_current_time()
        self._loads.labels(model).inc()

    def model_run(self, model: str, rows: int, rejected: int, seconds: float) -> None:
        self._rows.labels(model).inc(rows)
        self._rejected.labels(model).inc(rejected)
        self._sizes.observe((rows,), model)
        self._seconds.observe((seconds,), model)


class _DriftMetrics(Observer):
    """The last closed window's statistics, and alarms, of the partitions that this worker owns."""

    def __init__(self, registry: CollectorRegistry, limit: int) -> None:
        names = ("model", "column", "slice", "statistic", "partition")
        self._statistics = _PartitionGauge(registry, "drift_statistic", "A figure of the last closed window.", *names)
        self._dropped = _counter(registry, "drift_series_dropped", "Updates without room for a new series.")
        self._alarms = _counter(registry, "drift_alarms", "Changes signalled.", "model", "column", "detector")
        self._last = _PartitionGauge(
            registry,
            "drift_last_alarm_timestamp_seconds",
            "Event time of the last change signalled.",
            *("model", "column", "detector", "partition"),
        )
        self._limit = limit

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        owned = {str(number) for numbers in partitions.values() for number in numbers}
        for gauge in (self._statistics, self._last):
            gauge.remove(lambda labels: labels[-1] not in owned)

    def drift_window(
        self, model: str, column: str, slice_: str, partition: int, statistics: Mapping[str, float | int | None]
    ) -> None:
        for name, value in statistics.items():
            labels = (model, column, slice_, name, str(partition))
            if len(self._statistics) >= self._limit and labels not in self._statistics:
                self._dropped.inc()
            else:
                self._statistics.set(math.nan if value is None else value, *labels)

    def drift_alarm(self, model: str, column: str, detector: str, partition: int, event_time_ms: int) -> None:
        self._alarms.labels(model, column, detector).inc()
        self._last.set(event_time_ms / 1000, model, column, detector, str(partition))


class _LabelMetrics(Observer):
    """What became of predictions and labels, and the metrics of their pairs, of the partitions that this worker owns.

    ``window`` is ``last`` for the last closed window and ``all`` for all time.
    """

    def __init__(self, registry: CollectorRegistry, limit: int) -> None:
        self._ended = _counter(
            registry, "labels", "Predictions and labels, by what became of them.", "labels", "status"
        )
        names = ("labels", "model", "version", "slice", "window", "metric", "partition")
        self._figures = _PartitionGauge(registry, "performance", "A metric of predictions with labels.", *names)
        self._dropped = _counter(registry, "performance_series_dropped", "Updates without room for a new series.")
        self._limit = limit

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        owned = {str(number) for numbers in partitions.values() for number in numbers}
        self._figures.remove(lambda labels: labels[-1] not in owned)

    def labelled(self, labels: str, status: str, records: int) -> None:
        self._ended.labels(labels, status).inc(records)

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
        for metric, value in figures.items():
            names = (labels, model, version, slice_, window, metric, str(partition))
            if len(self._figures) >= self._limit and names not in self._figures:
                self._dropped.inc()
            else:
                self._figures.set(value, *names)
