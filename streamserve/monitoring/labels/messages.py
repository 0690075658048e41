"""What goes to an app's performance topic: outcomes of the label join, and metrics. JSON, told apart by ``kind``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal, TypeAlias

import msgspec
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt

from streamserve.monitoring.labels.entries import Outcome, Status
from streamserve.records import to_datetime

__all__ = ["CalibrationBin", "LabelMatch", "PerformanceMessage", "PerformanceReport", "encode_matches"]

_FROZEN = ConfigDict(extra="forbid", frozen=True)


class LabelMatch(BaseModel):
    """What became of a prediction, a label or both.

    ``key`` is the record key as text. ``matched``: both came, at most the bound apart. ``unlabelled``: the label never
    came. ``repeated``: a second label of a key (``truth`` is there), or a second prediction (it is not). ``late``: the
    label came after its prediction was given up. ``unpredicted``: the label came, its prediction never did.

    ``event_time`` is the prediction's, ``label_time`` the label's (UTC); ``delay_ms`` is their difference, negative
    when ``early``: the label's time lies before the prediction's. What is not known is ``None``.
    """

    model_config = _FROZEN

    kind: Literal["match"] = "match"
    key: str
    status: Status
    early: bool
    truth: bool | FiniteFloat | None
    score: FiniteFloat | None
    delay_ms: int | None
    model: str | None
    version: str | None
    role: str | None
    event_time: AwareDatetime | None
    label_time: AwareDatetime | None


class CalibrationBin(BaseModel):
    """The pairs with ``lower <= score < upper`` (the last bin includes 1): how many, mean score, share of positives."""

    model_config = _FROZEN

    lower: FiniteFloat
    upper: FiniteFloat
    count: NonNegativeInt
    score: FiniteFloat
    truth: FiniteFloat


class PerformanceReport(BaseModel):
    """The live performance of a model in one partition group.

    A *running* report (``window_start`` and ``window_end`` are ``None``) covers everything since the state began, the
    others the predictions with ``window_start <= event time < window_end`` (UTC), and come when the last of them is
    settled. ``version`` is ``None`` for all versions together, of which shadows are left out; ``slice`` is ``None`` for
    all rows, else ``"column=value"``. ``model`` is ``None`` for labels whose prediction is not known.

    ``counts`` holds outcomes by status, ``early`` those of the matched whose label came first; ``pairs`` is the number
    of matches that the metrics saw. ``metrics`` are River's by class name (``ROCAUC``, ``LogLoss``), without those that
    are not defined yet: all without pairs, ``ROCAUC`` without both classes. ``calibration`` lists the bins of scores
    that have pairs. ``after_close`` outcomes came when their window was closed already and are in none; it counts those
    of all versions and slices.
    """

    model_config = _FROZEN

    kind: Literal["metrics"] = "metrics"
    model: str | None
    version: str | None
    slice: str | None
    partition: NonNegativeInt
    window_start: AwareDatetime | None
    window_end: AwareDatetime | None
    counts: Mapping[str, NonNegativeInt]
    pairs: NonNegativeInt
    metrics: Mapping[str, FiniteFloat]
    calibration: tuple[CalibrationBin, ...] = ()
    after_close: NonNegativeInt = 0


PerformanceMessage: TypeAlias = Annotated[LabelMatch | PerformanceReport, Field(discriminator="kind")]
"""A value of the performance topic."""


class _Match(msgspec.Struct, gc=False):
    """``LabelMatch`` as it is written: one for each label, so building it must be cheap."""

    kind: str
    key: str
    status: str
    early: bool
    truth: bool | float | None
    score: float | None
    delay_ms: int | None
    model: str | None
    version: str | None
    role: str | None
    event_time: datetime | None
    label_time: datetime | None


_ENCODER = msgspec.json.Encoder()


def encode_matches(outcomes: Sequence[Outcome]) -> list[bytes]:
    r"""Return each outcome as a ``LabelMatch`` in JSON, without building that model.

    Bytes of a key that are not UTF-8 are written as ``\xNN``.

    >>> encode_matches([Outcome("unpredicted", b"UA1", None, None)])[0][:46]
    b'{"kind":"match","key":"UA1","status":"unpredic'
    """
    return [_ENCODER.encode(_match(outcome)) for outcome in outcomes]


def _match(outcome: Outcome) -> _Match:
    prediction, label = outcome.prediction, outcome.label
    return _Match(
        kind="match",
        key=outcome.key.decode(errors="backslashreplace"),
        status=outcome.status,
        early=outcome.is_early,
        truth=None if label is None else label.truth,
        score=None if prediction is None else prediction.score,
        delay_ms=outcome.delay_ms,
        model=None if prediction is None else prediction.model,
        version=None if prediction is None else prediction.version,
        role=None if prediction is None else prediction.role,
        event_time=None if prediction is None else to_datetime(prediction.time_ms),
        label_time=None if label is None else to_datetime(label.time_ms),
    )
