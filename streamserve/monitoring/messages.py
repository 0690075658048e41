"""What goes to an app's drift topic: statistics of closed windows, and alarms. JSON, told apart by ``kind``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Literal, TypeAlias

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, FiniteFloat, NonNegativeInt, PositiveInt

__all__ = ["DetectorFigures", "DriftAlarm", "DriftMessage", "DriftStatistics", "Histogram"]

_FROZEN = ConfigDict(extra="forbid", frozen=True)


class Histogram(BaseModel):
    """Counts on a baseline's bins: ``edges`` are inner edges, the first and the last bin are open.

    Bin ``i`` holds ``edges[i-1] <= x < edges[i]``.
    """

    model_config = _FROZEN

    edges: tuple[FiniteFloat, ...]
    counts: tuple[NonNegativeInt, ...]


class DetectorFigures(BaseModel):
    """One detector of one column as it stood when the window closed.

    ``alarms`` were raised by rows of this window, ``alarms_total`` since the model version began. ``figures`` are the
    detector's public numbers (ADWIN: ``estimation``, ``width`` and so on), which follow the order of arrival and so may
    already know rows of the next window. It saw every ``sample_every``-th value that was not missing.
    """

    model_config = _FROZEN

    detector: str
    sample_every: PositiveInt
    alarms: NonNegativeInt
    alarms_total: NonNegativeInt
    figures: Mapping[str, FiniteFloat] = Field(default_factory=dict[str, float])


class DriftStatistics(BaseModel):
    """One column of one model version in one closed event-time window of one partition group.

    The window holds ``window_start <= event time < window_end`` (UTC). ``slice`` is ``None`` for all rows, else
    ``"column=value"``. ``count`` values were there, ``nulls`` more were missing or not finite. ``variance`` is the
    sample variance (divisor ``count - 1``, 0 below two values). ``mean``, ``minimum`` and ``maximum`` are ``None`` when
    ``count`` is 0, and for columns of categories. ``quantiles`` are given for all rows of a numeric column only.
    ``psi`` is the population stability index against the baseline, ``None`` without one. ``late`` rows came after their
    window was closed and are in none; it counts all rows of this partition since the model version began.
    """

    model_config = _FROZEN

    kind: Literal["statistics"] = "statistics"
    model: str
    version: str
    column: str
    slice: str | None
    partition: NonNegativeInt
    window_start: AwareDatetime
    window_end: AwareDatetime
    count: NonNegativeInt
    nulls: NonNegativeInt
    late: NonNegativeInt = 0
    mean: FiniteFloat | None = None
    variance: FiniteFloat | None = None
    minimum: FiniteFloat | None = None
    maximum: FiniteFloat | None = None
    quantiles: Mapping[float, FiniteFloat] = Field(default_factory=dict[float, float])
    histogram: Histogram | None = None
    categories: Mapping[str, NonNegativeInt] | None = None
    other: NonNegativeInt | None = None
    psi: FiniteFloat | None = None
    detectors: tuple[DetectorFigures, ...] = ()


class DriftAlarm(BaseModel):
    """A detector signalled a change.

    ``event_time`` (UTC) is that of the row which set it off, ``ordinal`` that row's place among all rows of this
    partition since the model version began, from 0. ``count`` is the detector's number of alarms so far, this one
    included.
    """

    model_config = _FROZEN

    kind: Literal["alarm"] = "alarm"
    model: str
    version: str
    column: str
    detector: str
    partition: NonNegativeInt
    event_time: AwareDatetime
    ordinal: NonNegativeInt
    count: PositiveInt


DriftMessage: TypeAlias = Annotated[DriftStatistics | DriftAlarm, Field(discriminator="kind")]
"""A value of the drift topic."""
