"""Counters, gauges and histograms under the engine's names, and the registry that shows them."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge
from prometheus_client.core import HistogramMetricFamily, Metric
from prometheus_client.registry import Collector
from typing_extensions import override

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


class Registry(CollectorRegistry):
    """Leaves out the ``_created`` series, which double the counters and which Prometheus' server does not use."""

    @override
    def collect(self) -> Iterator[Metric]:
        for metric in super().collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


def counter(registry: CollectorRegistry, name: str, help_: str, *labels: str) -> Counter:
    """Return a counter of ``registry`` under the engine's name for it."""
    return Counter(f"streamserve_{name}", help_, labels, registry=registry)


def gauge(registry: CollectorRegistry, name: str, help_: str, *labels: str) -> Gauge:
    """Return a gauge of ``registry`` under the engine's name for it."""
    return Gauge(f"streamserve_{name}", help_, labels, registry=registry)


def histogram(
    registry: CollectorRegistry, name: str, help_: str, label: str | None, bounds: Sequence[float]
) -> SampledHistogram:
    """Return a histogram of ``registry`` under the engine's name for it."""
    histogram = SampledHistogram(f"streamserve_{name}", help_, label, bounds)
    registry.register(histogram)
    return histogram


class PartitionGauge:
    """A gauge with a label for the partition, whose series go when it goes."""

    def __init__(self, registry: CollectorRegistry, name: str, help_: str, *labels: str) -> None:
        self._gauge = gauge(registry, name, help_, *labels)
        self._series: set[tuple[str, ...]] = set()

    def __len__(self) -> int:
        return len(self._series)

    def __contains__(self, labels: tuple[str, ...]) -> bool:
        return labels in self._series

    def set(self, value: float, *labels: str) -> None:
        """Let the series under ``labels`` have ``value``."""
        self._series.add(labels)
        self._gauge.labels(*labels).set(value)

    def remove(self, left: Callable[[tuple[str, ...]], bool]) -> None:
        """Remove the series of which ``left`` says that their partition is another worker's."""
        for labels in filter(left, tuple(self._series)):
            self._series.remove(labels)
            self._gauge.remove(*labels)
