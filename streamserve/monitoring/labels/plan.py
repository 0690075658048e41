"""What to measure of predictions once their labels are there: plain data, checked where the user writes it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal, SupportsFloat, TypeAlias, cast

from streamserve.monitoring.labels.entries import Truth
from streamserve.records import to_datetime, to_epoch_ms

if TYPE_CHECKING:
    from river import metrics

__all__ = ["DAY_MS", "PerformancePlan", "Task", "Window"]

DAY_MS = 86_400_000

_FIRST_MS, _LAST_MS = -62_135_596_800_000, 253_402_300_799_000
"""The years 1 to 9999, beyond which calendars do not go; a watermark may."""

Task: TypeAlias = Literal["binary", "regression"]
"""What the model does: it gives the probability of one of two classes, or a number."""

Window: TypeAlias = int | Literal["month"]
"""The length of tumbling event-time windows: milliseconds, or calendar months (UTC)."""


@dataclass(frozen=True, slots=True)
class PerformancePlan:
    """What to measure.

    ``within_ms`` is how far a label and its prediction may be apart in event time. ``window`` is the length of the
    tumbling windows of the predictions' event time. ``slices`` names the columns by whose values metrics are split as
    well. ``metrics`` are River's, or one's own, in addition to the task's: accuracy, precision, recall, F1, log loss,
    ROC AUC and calibration error, or mean absolute and root mean squared error. ``threshold`` is the score from which
    on the positive class counts as predicted.

    >>> PerformancePlan(within_ms=1000).read_score("high")
    Traceback (most recent call last):
    ...
    ValueError: the score is a str that is no finite number: it has to be one

    Raises:
        TypeError: a metric is none of River's.
        ValueError: the bound, a window or the threshold cannot be.
    """

    within_ms: int
    task: Task = "binary"
    window: Window = DAY_MS
    slices: Sequence[str] = ()
    metrics: Sequence[metrics.base.Metric] = ()
    threshold: float = 0.5

    def __post_init__(self) -> None:
        if self.within_ms < 0:
            raise ValueError(f"labels cannot be awaited for {self.within_ms} ms: give a bound of 0 or more")
        if self.window != "month" and self.window < 1:
            raise ValueError(f"a window has to be 1 ms at least, not {self.window} ms")
        if not math.isfinite(self.threshold):
            raise ValueError(f"a threshold has to be a number, not {self.threshold}")
        if self.metrics:
            _check_metrics(self.metrics)

    def read_score(self, value: object) -> float:
        """Return what the user's function made of a prediction, as a score.

        Raises:
            ValueError: it is not a finite number, or no probability where the task is binary; values are not quoted.
        """
        score = _number(value, "score")
        if self.task == "binary" and not 0 <= score <= 1:
            raise ValueError("the score is not between 0 and 1: it has to be the probability of the positive class")
        return score

    def read_truth(self, value: object) -> Truth:
        """Return what the user's function made of a label, as the truth.

        Raises:
            ValueError: it is not a finite number, or not true or false where the task is binary.
        """
        truth = _number(value, "truth")
        if self.task == "regression":
            return truth
        if truth not in (0, 1):
            raise ValueError("the truth is neither true nor false: it has to be, or 1 or 0, where the task is binary")
        return bool(truth)

    def window_of(self, time_ms: int) -> int:
        """Return the index of the window that ``time_ms`` (UTC) belongs to: windows, or months, since the epoch.

        >>> PerformancePlan(within_ms=0, window="month").window_of(32 * DAY_MS)
        1
        """
        if self.window == "month":
            instant = to_datetime(min(max(time_ms, _FIRST_MS), _LAST_MS))
            return (instant.year - 1970) * 12 + instant.month - 1
        return time_ms // self.window

    def start_of(self, index: int) -> int:
        """Return where window ``index`` begins, in milliseconds since the epoch, UTC."""
        if self.window == "month":
            return to_epoch_ms(datetime(1970 + index // 12, index % 12 + 1, 1, tzinfo=UTC))
        return index * self.window


def _check_metrics(given: Sequence[object]) -> None:
    from river import metrics

    for metric in given:
        if not isinstance(metric, metrics.base.Metric):
            raise TypeError(f"{type(metric).__name__} is not a metric: pass instances such as metrics.MCC()")


def _number(value: object, what: str) -> float:
    try:
        number = float(cast("SupportsFloat", value)) if not isinstance(value, str | bytes) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"the {what} is a {type(value).__name__} that is no finite number: it has to be one")
    return number
