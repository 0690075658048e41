"""Readers without a store behave as those with one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from streamserve.errors import FeatureRowError, PlanError
from streamserve.features.base import FeatureReader
from streamserve.features.memory import MemoryReader

NOON = datetime(2013, 7, 1, 12, tzinfo=UTC)
NOON_MS = 1_372_680_000_000


def readers() -> list[FeatureReader]:
    matrix = np.array([[0.5, 1.0], [0.25, 2.0]], np.float32)
    rows = {0: {"risk": 0.5, "count": 1.0}, 1: {"risk": 0.25, "count": 2.0}}
    return [
        MemoryReader("s", ("user",), {"risk": float, "count": float}, rows),
        MemoryReader.from_matrix("user", ["risk", "count"], matrix, service="s"),
    ]


@pytest.mark.parametrize("reader", readers(), ids=["rows", "matrix"])
def test_rows_and_matrix_answer_alike(reader: FeatureReader) -> None:
    batch = reader.read({"user": [1, 0, 1]}, [5, 5, 5])
    assert [list(column) for column in batch.columns.values()] == [[0.25, 0.5, 0.25], [2.0, 1.0, 2.0]]
    assert (batch.size, batch.status, list(batch.ages_ms)) == (3, {}, [0, 0, 0])
    assert dict(batch.row(0)) == {"risk": 0.25, "count": 2.0}
    assert (reader.service, reader.join_keys, dict(reader.features)) == (
        "s",
        ("user",),
        {"risk": float, "count": float},
    )


@pytest.mark.parametrize("reader", readers(), ids=["rows", "matrix"])
@pytest.mark.parametrize("unknown", [2, -1, 2**70, None, "x", "0", 1.7])
def test_an_unknown_entity_is_not_found(reader: FeatureReader, unknown: float | str | None) -> None:
    batch = reader.read({"user": [0, unknown]}, None)
    assert list(batch.columns["risk"]) == [0.5, None]
    assert batch.row(1).status == {"risk": "not-found", "count": "not-found"}
    assert batch.row(0).status == {"risk": "present", "count": "present"}


def test_pushed_rows_are_seen_at_once_and_older_ones_left_out() -> None:
    reader = MemoryReader("s", ("origin",), {"wind": float}, {}, max_age=timedelta(hours=1))
    reader.push("s", [{"origin": "JFK", "wind": 2.0, "event_timestamp": NOON}])
    reader.push("s", [{"origin": "JFK", "wind": 1.0, "event_timestamp": NOON - timedelta(hours=1)}])
    reader.flush_pushes()
    times = [NOON_MS, NOON_MS - 1, NOON_MS + 3_600_001]
    batch = reader.read({"origin": ["JFK"] * 3}, times)
    assert batch.columns["wind"] == [2.0, None, None]
    assert batch.status["wind"] == ["present", "from-the-future", "outside-max-age"]


def test_a_pushed_row_without_its_time_is_refused() -> None:
    reader = MemoryReader("s", ("origin",), {"wind": float}, {})
    with pytest.raises(FeatureRowError, match="event_timestamp"):
        reader.push("s", [{"origin": "JFK", "wind": 2.0}])


def test_a_matrix_that_does_not_fit_its_names_is_refused() -> None:
    with pytest.raises(PlanError, match=r"2 features.*\(3, 1\)"):
        MemoryReader.from_matrix("user", ["a", "b"], np.zeros((3, 1), np.float32))
