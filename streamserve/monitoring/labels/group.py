"""The label join of one partition group and what it says of live performance, as one state."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from streamserve.monitoring.labels.entries import Label, Outcome, Predicted
from streamserve.monitoring.labels.matcher import LabelMatcher
from streamserve.monitoring.labels.messages import PerformanceReport
from streamserve.monitoring.labels.performance import PerformanceMetrics
from streamserve.monitoring.labels.plan import PerformancePlan

__all__ = ["GroupLabels"]

_MATCHER, _METRICS = b"k", b"s"


class GroupLabels:
    """Predictions and labels in; outcomes, reports and changelog records out.

    Call ``predict`` and ``label`` with runs of rows in the order of event time, and ``advance`` with the group's
    watermark after every batch, and before rows that come too late and those behind ``closes_at_ms``; emit the outcomes
    and reports, and commit ``take_changes``, in one transaction.
    Changelog keys begin with ``k`` (then the record key: what waits) or ``s`` (a set of metrics). Not thread-safe.
    """

    def __init__(self, plan: PerformancePlan, *, partition: int) -> None:
        self.plan = plan
        self._matcher = LabelMatcher(plan.within_ms)
        self._metrics = PerformanceMetrics(plan, partition=partition)
        self._unfed: list[Outcome] = []

    @property
    def waiting(self) -> int:
        """How many keys are remembered."""
        return len(self._matcher)

    @property
    def discarded(self) -> tuple[str, ...]:
        """What a restore dropped because it was made under another configuration, for the log."""
        return self._metrics.discarded

    def predict(self, keys: Sequence[bytes], predictions: Sequence[Predicted]) -> list[Outcome]:
        """Take in predictions with their record keys; return the outcomes that they settle (``LabelMatcher``)."""
        return self._settle(self._matcher.predict(keys, predictions))

    def label(self, keys: Sequence[bytes], labels: Sequence[Label]) -> list[Outcome]:
        """Take in labels with their record keys; return the outcomes that they settle (``LabelMatcher``)."""
        return self._settle(self._matcher.label(keys, labels))

    def _settle(self, outcomes: list[Outcome]) -> list[Outcome]:
        self._unfed += outcomes
        return outcomes

    def advance(self, watermark_ms: int) -> tuple[list[Outcome], list[PerformanceReport]]:
        """Give up what can match no more at ``watermark_ms`` (UTC); return those outcomes, and reports that are due."""
        outcomes = self._settle(self._matcher.advance(watermark_ms))
        if not self._metrics.closes_any(watermark_ms):
            return outcomes, []
        self._feed()
        return outcomes, self._metrics.advance(watermark_ms)

    @property
    def closes_at_ms(self) -> float:
        """How far the watermark has to come for ``advance`` to close a window, in milliseconds."""
        return self._metrics.closes_at_ms

    def stops(self, watermark_ms: int) -> Iterator[int]:
        """Yield where time stops on its way to ``watermark_ms``: ``advance`` to each before asking for the next.

        It stops where a window closes that has anything to report, so that reports come between the same outcomes
        whichever way time came there.
        """
        while self.closes_at_ms <= watermark_ms:
            self._feed()
            windows = [window for window in (self._metrics.oldest_window, self._due_window()) if window is not None]
            stop_ms = self.plan.start_of(min(windows) + 1) + self.plan.within_ms if windows else watermark_ms
            if stop_ms >= watermark_ms:
                break
            yield stop_ms
        yield watermark_ms

    def _due_window(self) -> int | None:
        """Return the first window in which something may be given up."""
        due_ms = self._matcher.next_due_ms
        return None if due_ms is None else self.plan.window_of(due_ms - self.plan.within_ms)

    def report(self) -> list[PerformanceReport]:
        """Return the running reports of what changed since they were last given."""
        self._feed()
        return self._metrics.report()

    def _feed(self) -> None:
        unfed, self._unfed = self._unfed, []
        self._metrics.update(unfed)  # fewer, larger batches: 6 sets cost 0.7 ms a batch, and 3 µs a pair

    def take_changes(self) -> tuple[list[bytes], list[bytes | None]]:
        """Return the changelog records of what changed since the last call; afterwards the state is clean.

        Raises:
            ConfigurationError: a metric cannot be pickled.
        """
        self._feed()
        keys, values = self._matcher.take_changes()
        metric_keys, metric_values = self._metrics.take_changes()
        prefixed = [_MATCHER + key for key in keys] + [_METRICS + key for key in metric_keys]
        return prefixed, values + metric_values

    def load(self, keys: Sequence[bytes], values: Sequence[bytes | None]) -> None:
        """Take changelog records back in the order of the log.

        Raises:
            ConfigurationError: a record has an unknown format version, or is damaged.
        """
        for prefix, state in ((_MATCHER, self._matcher), (_METRICS, self._metrics)):
            chosen = [(key[1:], value) for key, value in zip(keys, values, strict=True) if key[:1] == prefix]
            state.load([key for key, _ in chosen], [value for _, value in chosen])

    def loaded(self) -> None:
        """Tell that the changelog's end is reached.

        Raises:
            ConfigurationError: a record of the metrics has an unknown format version, or is damaged.
        """
        self._matcher.loaded()
        self._metrics.loaded()
