from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from pydantic import TypeAdapter, ValidationError

from streamserve.monitoring.messages import DriftAlarm, DriftMessage, DriftStatistics, Histogram

MESSAGES = TypeAdapter[DriftStatistics | DriftAlarm](DriftMessage)

STATISTICS = DriftStatistics(
    model="delay",
    version="1",
    column="distance",
    slice=None,
    partition=0,
    window_start=datetime(2013, 1, 1, tzinfo=UTC),
    window_end=datetime(2013, 1, 2, tzinfo=UTC),
    count=2,
    nulls=0,
    mean=1.5,
    quantiles={0.5: 1.0},
    histogram=Histogram(edges=(1.5,), counts=(1, 1)),
)
ALARM = DriftAlarm(
    model="delay",
    version="1",
    column="distance",
    detector="ADWIN",
    partition=0,
    event_time=datetime(2013, 1, 1, tzinfo=UTC),
    ordinal=5,
    count=1,
)


@pytest.mark.parametrize("message", [STATISTICS, ALARM], ids=["statistics", "alarm"])
def test_messages_are_read_back_from_json_by_their_kind(message: DriftStatistics | DriftAlarm) -> None:
    assert MESSAGES.validate_json(message.model_dump_json()) == message


def test_times_are_written_in_utc() -> None:
    assert '"event_time":"2013-01-01T00:00:00Z"' in ALARM.model_dump_json()


def test_non_finite_figures_are_refused() -> None:
    with pytest.raises(ValidationError):
        DriftStatistics.model_validate({**STATISTICS.model_dump(), "mean": math.nan})


def test_the_schema_tells_the_kinds_apart() -> None:
    schema = MESSAGES.json_schema()
    assert set(schema["discriminator"]["mapping"]) == {"statistics", "alarm"}
