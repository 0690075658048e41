"""Declares labels: what came true, against what was predicted."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal

from typing_extensions import TypeVar

from streamserve.agents import Labels, Source, Topic
from streamserve.app.declared import Declares
from streamserve.dataflow.planning.nodes import LabelsNode
from streamserve.durations import Duration, to_milliseconds
from streamserve.errors import PlanError
from streamserve.monitoring.labels.plan import PerformancePlan, Task, Window
from streamserve.records import Scalar

if TYPE_CHECKING:
    from river import metrics as river_metrics

K = TypeVar("K")
L = TypeVar("L")
P = TypeVar("P")


class DeclaresLabels(Declares):
    """``app.labels``."""

    def labels(
        self,
        labels: Source[L, K],
        *,
        predictions: Topic[P, K],
        truth: Callable[[L], Scalar],
        score: Callable[[P], float],
        within: Duration,
        metrics: Sequence[river_metrics.base.Metric] = (),
        task: Task = "binary",
        threshold: float = 0.5,
        window: Duration | Literal["month"] = "1d",
        slices: Sequence[str] = (),
        name: str | None = None,
    ) -> Labels[P, L]:
        """Match predictions with the labels that come later, by key, and measure how good they were.

        A prediction waits for its label until ``within`` of event time has passed. What becomes of each (``matched``,
        ``unlabelled``, ``repeated``, ``late``, ``unpredicted``) goes to ``<app>-performance`` in the same transaction,
        and so do metrics of the matched: for each model, each of its versions and the values of each of ``slices``
        (fields of the prediction), in tumbling ``window``s of the predictions' event time (calendar months, UTC, with
        ``"month"``), and since the beginning. Schemas: ``LabelMatch`` and ``PerformanceReport``.

        ``truth`` gives what a label says: true or false, or a number where ``task="regression"``; ``None`` leaves the
        label out. ``score`` gives the probability of true, or the predicted number; ``threshold`` is the probability
        from which on a prediction counts as true. A record that either fails on is dead-lettered. ``metrics`` are
        River's, beside the task's own: accuracy, precision, recall, F1, log loss, ROC AUC and calibration error,
        or mean absolute and root mean squared error.

        Predictions' model, version and role are their fields of these names; where there are none, those of the only
        model that the agent asks; else ``"unknown"``. Their event time is their topic's, else that of the record that
        they were made for. Both topics need one partitioning: regroup the labels (``labels.group_by(field)``) where
        their key is another. ``name`` (default: ``<predictions>-labels``) is the state's identity.

        Raises:
            PlanError: the name is taken, labels and predictions are one topic, or the options do not fit together.
        """
        chosen = name or f"{predictions.name}-labels"
        self._check_state_name(chosen, "labels")
        if labels.name == predictions.name:
            raise PlanError(f"labels {chosen!r}: topic {labels.name!r} cannot hold labels and predictions both")
        try:
            span: Window = "month" if window == "month" else to_milliseconds(window)
            measure = PerformancePlan(to_milliseconds(within), task, span, tuple(slices), tuple(metrics), threshold)
        except (TypeError, ValueError) as error:
            raise PlanError(f"labels {chosen!r}: {error}") from error
        node = LabelsNode(chosen, labels.name, predictions.name, truth, score, measure)
        self._declared.labels[chosen] = node
        return Labels(node)
