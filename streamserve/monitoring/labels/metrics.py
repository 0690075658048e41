"""The running metrics over one set of pairs."""

from __future__ import annotations

import inspect
import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
from river import metrics

from streamserve.monitoring.labels.plan import PerformancePlan
from streamserve.monitoring.labels.running import BATCHED, MAE, RMSE, ROCAUC, CalibrationError, LogLoss
from streamserve.monitoring.pickles import pickle_object, unpickle_object
from streamserve.monitoring.rows import Floats

__all__ = ["MetricSet", "Templates"]

Metric = metrics.base.Metric


@runtime_checkable
class _Batched(Protocol):
    def update_many(self, truths: Floats, scores: Floats) -> None: ...


class _Updated(Protocol):
    """How a metric of River's is fed; its base class leaves out weights."""

    def update(self, y_true: Any, y_pred: Any, w: float = ..., /) -> None: ...


class _Matrix(Protocol):
    """River's confusion matrix."""

    n_samples: int


class Templates:
    """The metrics of a plan, never fed, by the name under which they are reported.

    That is the class's name, numbered from the second of a class on (``"F1"``, ``"F1-2"``). One that is configured as
    another is left out. ``configurations`` holds class and parameters as text: state made under another is dropped.

    Raises:
        ConfigurationError: a metric cannot be pickled, so it could not be kept across restarts.
    """

    def __init__(self, plan: PerformancePlan) -> None:
        self.plan = plan
        self.configurations: dict[str, str] = {}
        self._given: dict[str, Metric] = {}
        names = Counter[str]()
        for metric in (*_usual(plan), *map(_batched, plan.metrics)):
            kind, configuration = type(metric).__name__, f"{_configuration(metric)} at {plan.threshold}"
            if configuration in self.configurations.values():
                continue
            pickle_object(metric)
            names[kind] += 1
            name = kind if names[kind] == 1 else f"{kind}-{names[kind]}"
            self.configurations[name] = configuration
            self._given[name] = metric
        self.modules = frozenset(type(metric).__module__ for metric in self._given.values())

    def start(self) -> dict[str, Metric]:
        """Return fresh metrics; those of the task that need a confusion matrix share one."""
        usual = _usual(self.plan)
        fresh = [*usual, *map(_clone, list(self._given.values())[len(usual) :])]
        return dict(zip(self._given, fresh, strict=True))


def _usual(plan: PerformancePlan) -> list[Metric]:
    if plan.task == "regression":
        return [MAE(), RMSE()]
    shared = metrics.ConfusionMatrix()
    by_class = [kind(shared) for kind in (metrics.Accuracy, metrics.Precision, metrics.Recall, metrics.F1)]
    return [*by_class, LogLoss(), ROCAUC(), CalibrationError()]


def _batched(metric: Metric) -> Metric:
    """Return our own class for one of River's that takes pairs one at a time only."""
    replacement = BATCHED.get(type(metric))
    if replacement is None:
        return metric
    parameters = inspect.signature(replacement).parameters
    return replacement(**{name: getattr(metric, name) for name in parameters})


def _clone(metric: Metric) -> Metric:
    """Return a fresh metric; River's own ``clone`` copies a confusion matrix with all that it counted."""
    shared = {"cm": None} if "cm" in inspect.signature(type(metric)).parameters else None
    return metric.clone(shared)


def _configuration(metric: Metric) -> str:
    names = [name for name in inspect.signature(type(metric)).parameters if name != "cm"]
    parameters = ", ".join(f"{name}={getattr(metric, name, None)!r}" for name in names)
    return f"{type(metric).__module__}.{type(metric).__name__}({parameters})"


class MetricSet:
    """The metrics over one set of pairs, fed a batch at a time.

    What can take a batch at once is given one: our own metrics, and those that only look at a confusion matrix, whose
    four cells are raised by the batch's counts. Any other metric is updated pair by pair, with the class or the
    probability as River's contract for it asks. Either way the values are those of one update after the other, however
    the pairs were batched.
    """

    __slots__ = ("_cells", "_metrics", "_templates")

    def __init__(self, templates: Templates, running: Mapping[str, Metric] | None = None) -> None:
        self._templates = templates
        self._metrics = {**templates.start(), **(running or {})}
        self._cells = list(_one_for_each_matrix(self._metrics.values()))

    def update(self, truths: Floats, scores: Floats) -> None:
        """Feed pairs in order: truths, 0 and 1 where the task is binary, and scores; two arrays of one length."""
        classes = scores >= self._templates.plan.threshold
        if self._cells:
            self._update_cells(truths != 0, classes)
        for metric in self._metrics.values():
            if isinstance(metric, _Batched):
                metric.update_many(truths, scores)
            elif not _looks_at_cells(metric):
                self._update_each(metric, truths, scores, classes.tolist())

    def _update_cells(self, truths: np.ndarray[Any, np.dtype[np.bool_]], classes: Any) -> None:
        counts = np.bincount(2 * truths + classes, minlength=4).tolist()
        for cell, count in enumerate(counts):
            for metric in self._cells if count else ():
                cast("_Updated", metric).update(cell > 1, cell % 2 == 1, float(count))
                cast("_Matrix", getattr(metric, "cm", metric)).n_samples += (
                    count - 1
                )  # River counts updates, not weights

    def _update_each(self, metric: Metric, truths: Floats, scores: Floats, classes: Sequence[bool]) -> None:
        fed = cast("_Updated", metric)
        given: Sequence[Any] = scores.tolist()
        wanted: Sequence[Any] = truths.tolist()
        if isinstance(metric, metrics.base.ClassificationMetric):
            wanted = [truth != 0 for truth in wanted]
            if metric.requires_labels:
                given = classes
            elif not isinstance(metric, metrics.base.BinaryMetric):
                given = [{True: score, False: 1 - score} for score in given]
        for truth, score in zip(wanted, given, strict=True):
            fed.update(truth, score)

    def values(self) -> dict[str, float]:
        """Return the metrics that are defined and finite, by name."""
        found = {name: _value(metric) for name, metric in self._metrics.items()}
        return {name: value for name, value in found.items() if math.isfinite(value)}

    def calibration(self) -> list[tuple[float, float, int, float, float]]:
        """Return ``CalibrationError.bins``, nothing where the task is regression."""
        found = self._metrics.get("CalibrationError")
        return found.bins() if isinstance(found, CalibrationError) else []

    def dump(self) -> bytes:
        """Return the metrics pickled.

        Raises:
            ConfigurationError: one cannot be pickled.
        """
        return pickle_object(self._metrics)

    @classmethod
    def restore(cls, data: bytes, configurations: Mapping[str, str], templates: Templates) -> MetricSet:
        """Return the metrics that ``dump`` was given; those that were configured differently start afresh.

        Raises:
            ConfigurationError: the bytes are damaged, or hold what a dump never does.
        """
        stored: Mapping[str, Metric] = unpickle_object(data, templates.modules)
        kept = {name for name, text in templates.configurations.items() if configurations.get(name) == text}
        return cls(templates, {name: metric for name, metric in stored.items() if name in kept})


def _looks_at_cells(metric: Metric) -> bool:
    """Tell whether a metric is a function of its confusion matrix, which a weighted update raises just as well."""
    return _update_of(type(metric)) in _CELL_UPDATES and bool(getattr(metric, "requires_labels", False))


def _update_of(kind: type[Metric]) -> object:
    return vars(next(base for base in kind.__mro__ if "update" in vars(base)))["update"]


_CELL_UPDATES = [_update_of(metrics.base.ClassificationMetric), _update_of(metrics.base.BinaryMetric)]


def _one_for_each_matrix(running: Iterable[Metric]) -> Iterator[Metric]:
    seen: set[int] = set()
    for metric in running:
        if _looks_at_cells(metric) and (matrix := id(getattr(metric, "cm", metric))) not in seen:
            seen.add(matrix)
            yield metric


def _value(metric: Metric) -> float:
    try:
        return float(metric.get())
    except Exception:  # not every metric can be asked before it has seen enough
        return math.nan
