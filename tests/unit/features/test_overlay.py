"""One table behind its cache and its pushes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.clock import ManualClock
from streamserve.errors import OutageError
from streamserve.features.overlay import PushedRow, TableOverlay
from streamserve.features.rows import Key, ViewRow, not_found, row_of


class Table:
    """An online table that counts its calls, lets an older row overwrite a newer one, and can be away."""

    features = ("value",)

    def __init__(self) -> None:
        self.held: dict[Key, ViewRow] = {}
        self.reads: list[list[Key]] = []
        self.writes: list[list[Key]] = []
        self.away = False

    def read(self, keys: Sequence[Key]) -> list[ViewRow]:
        self.reads.append(list(keys))
        return [self.held.get(key, not_found(1)) for key in keys]

    def encode(self, rows: Sequence[Mapping[str, object]]) -> list[PushedRow]:
        pushed: Sequence[Any] = rows
        return [PushedRow(row["key"], row_of(self.features, row, row["at"]), None) for row in pushed]

    def write(self, rows: Sequence[PushedRow]) -> None:
        if self.away:
            raise OutageError("away")
        self.writes.append([row.key for row in rows])
        self.held.update({row.key: row.row for row in rows})


def over(table: Table, clock: ManualClock | None = None, *, max_rows: int = 100) -> TableOverlay:
    return TableOverlay(table, cached_for=timedelta(seconds=1), max_rows=max_rows, clock=clock or ManualClock())


def push(key: str, value: float, at: int) -> Mapping[str, object]:
    return {"key": key, "value": value, "at": at}


def test_each_missing_entity_is_asked_for_once_found_or_not() -> None:
    table = Table()
    overlay = over(table)
    assert overlay.rows(["a", "b", "a"])[1] == 3
    assert overlay.rows(["b", "a"])[1] == 0
    assert table.reads == [["a", "b"]]


def test_a_row_is_asked_for_again_when_its_time_in_the_cache_is_over() -> None:
    table, clock = Table(), ManualClock()
    overlay = over(table, clock)
    overlay.rows(["a"])
    table.held["a"] = row_of(["value"], {"value": 1.0}, 5)
    assert overlay.rows(["a"])[0][0].statuses == ("not-found",)
    clock.advance(1)
    assert overlay.rows(["a"])[0][0].values == (1.0,)


def test_a_flush_writes_the_newest_row_of_each_entity_in_one_call() -> None:
    table = Table()
    overlay = over(table)
    overlay.push([push("a", 1.0, 1), push("b", 1.0, 1), push("a", 2.0, 2)])
    assert overlay.flush() == 2
    assert overlay.flush() == 0
    assert table.writes == [["a", "b"]]
    assert table.held["a"].values == (2.0,)


def test_pushed_rows_outlive_a_failed_flush() -> None:
    table = Table()
    overlay = over(table)
    overlay.push([push("a", 1.0, 1)])
    table.away = True
    with pytest.raises(OutageError):
        overlay.flush()
    table.away = False
    assert (overlay.flush(), table.held["a"].values) == (1, (1.0,))


def test_entities_pushed_before_are_not_read_again() -> None:
    table, clock = Table(), ManualClock()
    overlay = over(table, clock)
    for second in range(5):
        overlay.push([push("a", 1.0, second)])
        overlay.flush()
        clock.advance(10)
    assert table.reads == [["a"]]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.sampled_from("abc"), st.integers(0, 20)),
            st.sampled_from(["flush", "restart"]),
        ),
        max_size=40,
    ),
    st.integers(1, 3),
)
def test_reads_and_the_store_always_hold_the_newest_row_pushed(steps: list[Any], max_rows: int) -> None:
    table = Table()
    overlay = over(table, max_rows=max_rows)
    durable: dict[str, int] = {}
    newest: dict[str, int] = {}
    for step in steps:
        if step == "flush":
            overlay.flush()
            durable = dict(newest)
        elif step == "restart":
            overlay, newest = over(table, max_rows=max_rows), dict(durable)
        else:
            key, at = step
            overlay.push([push(key, float(at), at)])
            newest[key] = max(at, newest.get(key, 0))
        assert [row.values[0] for row in overlay.rows(list(newest))[0]] == [float(at) for at in newest.values()]
    assert {key: row.event_ms for key, row in table.held.items()} == durable
