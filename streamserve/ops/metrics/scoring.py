"""What is scored, and how good it is: features, models, drift and labels."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from prometheus_client import CollectorRegistry
from typing_extensions import override

from streamserve.observer import Observer
from streamserve.ops.metrics.instruments import (
    AGE_BUCKETS,
    LATENCY_BUCKETS,
    SIZE_BUCKETS,
    PartitionGauge,
    counter,
    gauge,
    histogram,
)


class FeatureMetrics(Observer):
    """Feature look-ups and pushes."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._rows = counter(registry, "feature_rows", "Feature rows looked up.", "service")
        self._hits = counter(registry, "feature_cache_hits", "View reads answered by the cache.", "service")
        self._seconds = histogram(
            registry, "feature_read_seconds", "Time of a batched look-up.", "service", LATENCY_BUCKETS
        )
        self._ages = histogram(
            registry, "feature_age_seconds", "Age of sampled feature values at their event.", "service", AGE_BUCKETS
        )
        self._pushed = counter(registry, "feature_rows_pushed", "Rows written to the online store.", "source")
        self._stale = counter(registry, "feature_rows_stale", "Rows left out, older than the store's.", "source")
        self._unlogged = counter(registry, "feature_rows_unlogged", "Rows with values that JSON lacks.", "service")

    @override
    def features_read(self, service: str, rows: int, cache_hits: int, seconds: float, ages: Sequence[float]) -> None:
        self._rows.labels(service).inc(rows)
        self._hits.labels(service).inc(cache_hits)
        self._seconds.observe((seconds,), service)
        self._ages.observe(ages, service)

    @override
    def features_pushed(self, source: str, rows: int, stale: int) -> None:
        self._pushed.labels(source).inc(rows)
        self._stale.labels(source).inc(stale)

    @override
    def features_unlogged(self, service: str, rows: int) -> None:
        self._unlogged.labels(service).inc(rows)


class ModelMetrics(Observer):
    """Models and their runs."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._info = gauge(registry, "model_info", "1 for the version that answers.", "model", "version", "sha256")
        self._limit = gauge(registry, "model_max_batch_rows", "Most rows in one run.", "model")
        self._loaded_at = gauge(
            registry, "model_loaded_timestamp_seconds", "When the version that answers was loaded.", "model"
        )
        self._loads = counter(registry, "model_loads", "Versions loaded.", "model")
        self._rows = counter(registry, "model_rows", "Rows scored.", "model")
        self._rejected = counter(registry, "model_rows_rejected", "Rows that the model refused.", "model")
        self._sizes = histogram(registry, "model_batch_rows", "Rows in a run.", "model", SIZE_BUCKETS)
        self._seconds = histogram(registry, "model_run_seconds", "Time of a run.", "model", LATENCY_BUCKETS)
        self._current: dict[str, tuple[str, str]] = {}

    @override
    def model_loaded(self, model: str, version: str, sha256: str, batch_size: int) -> None:
        if model in self._current:
            self._info.remove(model, *self._current[model])
        self._current[model] = (version, sha256)
        self._info.labels(model, version, sha256).set(1)
        self._limit.labels(model).set(batch_size)
        self._loaded_at.labels(model).set_to_current_time()
        self._loads.labels(model).inc()

    @override
    def model_run(self, model: str, rows: int, rejected: int, seconds: float) -> None:
        self._rows.labels(model).inc(rows)
        self._rejected.labels(model).inc(rejected)
        self._sizes.observe((rows,), model)
        self._seconds.observe((seconds,), model)


class DriftMetrics(Observer):
    """The last closed window's statistics, and alarms, of the partitions that this worker owns."""

    def __init__(self, registry: CollectorRegistry, limit: int) -> None:
        names = ("model", "column", "slice", "statistic", "partition")
        self._statistics = PartitionGauge(registry, "drift_statistic", "A figure of the last closed window.", *names)
        self._dropped = counter(registry, "drift_series_dropped", "Updates without room for a new series.")
        self._alarms = counter(registry, "drift_alarms", "Changes signalled.", "model", "column", "detector")
        self._last = PartitionGauge(
            registry,
            "drift_last_alarm_timestamp_seconds",
            "Event time of the last change signalled.",
            *("model", "column", "detector", "partition"),
        )
        self._limit = limit

    @override
    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        owned = {str(number) for numbers in partitions.values() for number in numbers}
        for figures in (self._statistics, self._last):
            figures.remove(lambda labels: labels[-1] not in owned)

    @override
    def drift_window(
        self, model: str, column: str, slice_: str, partition: int, statistics: Mapping[str, float | int | None]
    ) -> None:
        for name, value in statistics.items():
            labels = (model, column, slice_, name, str(partition))
            if len(self._statistics) >= self._limit and labels not in self._statistics:
                self._dropped.inc()
            else:
                self._statistics.set(math.nan if value is None else value, *labels)

    @override
    def drift_alarm(self, model: str, column: str, detector: str, partition: int, event_time_ms: int) -> None:
        self._alarms.labels(model, column, detector).inc()
        self._last.set(event_time_ms / 1000, model, column, detector, str(partition))


class LabelMetrics(Observer):
    """What became of predictions and labels, and the metrics of their pairs, of the partitions that this worker owns.

    ``window`` is ``last`` for the last closed window and ``all`` for all time.
    """

    def __init__(self, registry: CollectorRegistry, limit: int) -> None:
        self._ended = counter(registry, "labels", "Predictions and labels, by what became of them.", "labels", "status")
        names = ("labels", "model", "version", "slice", "window", "metric", "partition")
        self._figures = PartitionGauge(registry, "performance", "A metric of predictions with labels.", *names)
        self._dropped = counter(registry, "performance_series_dropped", "Updates without room for a new series.")
        self._limit = limit

    @override
    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        owned = {str(number) for numbers in partitions.values() for number in numbers}
        self._figures.remove(lambda labels: labels[-1] not in owned)

    @override
    def labelled(self, labels: str, status: str, records: int) -> None:
        self._ended.labels(labels, status).inc(records)

    @override
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
