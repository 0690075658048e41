from __future__ import annotations

import math
from datetime import datetime
from decimal import Decimal
from types import SimpleNamespace
from typing import Any

import pytest

from streamserve import aggregates
from streamserve.errors import WindowError
from streamserve.state.windows.columns import column_of


def _delays(*values: Any) -> list[SimpleNamespace]:
    return [SimpleNamespace(delay=value) for value in values]


def test_fields_are_read_from_objects_and_dicts_and_by_functions() -> None:
    assert column_of(aggregates.mean("delay"), _delays(1, 2.5)) == [1, 2.5]
    assert column_of(aggregates.mean("delay"), [{"delay": 1}]) == [1]
    assert column_of(aggregates.mean(lambda event: event.delay > 15), _delays(1, 20)) == [False, True]


def test_numeric_aggregates_leave_out_what_is_not_finite() -> None:
    events = _delays(1.0, math.nan, None, math.inf, -math.inf)
    assert column_of(aggregates.sum("delay"), events) == [1.0, None, None, None, None]


def test_extremes_keep_infinities() -> None:
    assert column_of(aggregates.max("delay"), _delays(1.0, math.nan, math.inf)) == [1.0, None, math.inf]


def test_large_finite_values_are_kept_though_their_sum_overflows() -> None:
    assert column_of(aggregates.mean("delay"), _delays(1e308, 1e308)) == [1e308, 1e308]


def test_a_field_that_events_lack_is_named() -> None:
    with pytest.raises(WindowError, match=r"mean\(dealy\): events of type SimpleNamespace have no field"):
        column_of(aggregates.mean("dealy"), _delays(1))


@pytest.mark.parametrize(
    ("aggregate", "value", "message"),
    [
        (aggregates.mean("delay"), "12", "a value of type str"),
        (aggregates.sum("delay"), Decimal(1), "a value of type Decimal"),
        (aggregates.distinct("delay"), ["EWR"], "a value of type list"),
        (aggregates.last("delay"), datetime(2013, 1, 1), "without a time zone"),  # noqa: DTZ001 - the point
    ],
)
def test_values_that_an_aggregate_cannot_take_are_refused(
    aggregate: aggregates.Aggregate[Any], value: Any, message: str
) -> None:
    with pytest.raises(WindowError, match=message):
        column_of(aggregate, _delays(value))
