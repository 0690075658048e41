"""Prometheus metrics, as one observer: the only home of ``prometheus_client``.

Every name begins with ``streamserve_`` and follows Prometheus' naming rules (base units, ``_total`` on counters).
Labels are names from the app's plan, partition numbers, error classes and model versions, never keys or values of
records. Drift statistics, whose slices come from data, are limited in number; what is beyond is counted. Gauges of a
partition leave with it: its next owner reports them. Records emitted, failed and skipped, and drift, are those of
committed transactions (see ``observer``); all else counts work, that of aborted transactions included.
"""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Final

from prometheus_client import CollectorRegistry, GCCollector, PlatformCollector, ProcessCollector, generate_latest

from streamserve.observer import Observers
from streamserve.ops.metrics.instruments import Registry, gauge
from streamserve.ops.metrics.scoring import DriftMetrics, FeatureMetrics, LabelMetrics, ModelMetrics
from streamserve.ops.metrics.work import AssignmentMetrics, CommitMetrics, RecordMetrics, StallMetrics

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
"""The media type of what ``PrometheusObserver.render`` returns."""


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
        self.registry: CollectorRegistry = Registry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self.registry)
        gauge(self.registry, "app_info", "The app that this worker runs.", "app").labels(app).set(1)
        self.stalls = StallMetrics(self.registry)
        """To be told of stalls by the watchdog."""
        gauge(self.registry, "build_info", "The release that this worker runs.", "version").labels(_release()).set(1)
        super().__init__(
            [
                RecordMetrics(self.registry),
                CommitMetrics(self.registry),
                AssignmentMetrics(self.registry),
                FeatureMetrics(self.registry),
                ModelMetrics(self.registry),
                DriftMetrics(self.registry, max_drift_series),
                LabelMetrics(self.registry, max_drift_series),
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
