from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.errors import ConfigurationError
from streamserve.state.joins import Joined, JoinKind, LoneRow, Side, StreamJoin

KINDS: tuple[JoinKind, ...] = ("inner", "left", "outer")
LATENESS = 30


class Given(NamedTuple):
    """A row of a test: its payload is its own name."""

    side: Side
    key: bytes
    time_ms: int
    payload: bytes


@st.composite
def rows(draw: st.DrawFn) -> list[Given]:
    sides: st.SearchStrategy[Side] = st.sampled_from(("left", "right"))
    drawn = draw(st.lists(st.tuples(sides, st.sampled_from([b"a", b"b", b""]), st.integers(-60, 200)), max_size=40))
    return [Given(side, key, time_ms, str(index).encode()) for index, (side, key, time_ms) in enumerate(drawn)]


def shuffled(given_rows: Sequence[Given], seed: int) -> list[Given]:
    """Rows as they arrive when none is held up by more than ``LATENESS``."""
    chance = random.Random(seed)  # noqa: S311 - a test's order of arrival
    return sorted(given_rows, key=lambda row: row.time_ms + chance.uniform(0, LATENESS))


def run(
    arriving: Sequence[Given], within_ms: int, kind: JoinKind, restore_at: Sequence[bool] = ()
) -> tuple[list[Joined], list[LoneRow]]:
    """Join row after row, the watermark behind by the lateness; start again from the changelog where told to."""
    join, log = StreamJoin("trips", within_ms=within_ms, kind=kind), dict[bytes, bytes]()
    pairs: list[Joined] = []
    alone: list[LoneRow] = []
    newest = -1_000
    for index, row in enumerate(arriving):
        pairs += join_one(join, *row)
        newest = max(newest, row.time_ms)
        alone += join.expire(newest - LATENESS)
        commit(join, log)
        if index < len(restore_at) and restore_at[index]:
            join = restored(log, within_ms, kind)
    alone += join.expire(10_000)
    commit(join, log)
    assert (len(join), log) == (0, {})
    return pairs, alone


def join_one(join: StreamJoin, side: Side, key: bytes, time_ms: int, payload: bytes) -> list[Joined]:
    return join.join((side,), (key,), (time_ms,), (payload,))


def commit(join: StreamJoin, log: dict[bytes, bytes]) -> None:
    keys, values = join.take_changes()
    assert len(set(keys)) == len(keys)
    for key, value in zip(keys, values, strict=True):
        if value is None:
            del log[key]  # a tombstone is written only for what the log has
        else:
            log[key] = value


def restored(log: dict[bytes, bytes], within_ms: int, kind: JoinKind) -> StreamJoin:
    join = StreamJoin("trips", within_ms=within_ms, kind=kind)
    entries = list(log.items())
    for start in range(0, len(entries), 3):
        part = entries[start : start + 3]
        join.load([key for key, _ in part], [value for _, value in part])
    join.loaded()
    return join


def all_pairs(given_rows: Sequence[Given], within_ms: int) -> set[tuple[bytes, bytes]]:
    return {
        (left.payload, right.payload)
        for left in given_rows
        for right in given_rows
        if (left.side, right.side) == ("left", "right")
        and left.key == right.key
        and abs(left.time_ms - right.time_ms) <= within_ms
    }


@given(rows(), st.integers(0, 50), st.sampled_from(KINDS), st.integers(0, 9))
def test_pairs_and_lone_rows_are_those_of_all_pairs_in_any_order_within_the_lateness(
    given_rows: list[Given], within_ms: int, kind: JoinKind, seed: int
) -> None:
    pairs, alone = run(shuffled(given_rows, seed), within_ms, kind)
    found = [(pair.left, pair.right) for pair in pairs]
    expected = all_pairs(given_rows, within_ms)
    assert len(found) == len(set(found))
    assert set(found) == expected
    sides = {"inner": (), "left": ("left",), "outer": ("left", "right")}[kind]
    paired = {payload for pair in expected for payload in pair}
    lonely = sorted(row.payload for row in given_rows if row.side in sides and row.payload not in paired)
    assert sorted(row.payload for row in alone) == lonely


@given(rows(), st.integers(0, 50), st.sampled_from(KINDS), st.lists(st.booleans(), max_size=40))
def test_a_restore_at_any_moment_changes_nothing(
    given_rows: list[Given], within_ms: int, kind: JoinKind, restore_at: list[bool]
) -> None:
    arriving = shuffled(given_rows, 1)
    assert run(arriving, within_ms, kind, restore_at) == run(arriving, within_ms, kind)


@given(rows(), st.integers(0, 50))
def test_a_batch_gives_the_pairs_of_its_rows_one_by_one(given_rows: list[Given], within_ms: int) -> None:
    together, single = (StreamJoin("trips", within_ms=within_ms) for _ in range(2))
    expected = [
        pair._replace(position=place) for place, row in enumerate(given_rows) for pair in join_one(single, *row)
    ]
    columns = list(zip(*given_rows, strict=True)) or [(), (), (), ()]
    assert together.join(*columns) == expected
    assert together.take_changes() == single.take_changes()


def test_the_pairs_of_a_row_come_by_the_other_sides_time_then_arrival() -> None:
    join = StreamJoin("trips", within_ms=10)
    for time_ms, payload in ((5, b"5"), (3, b"3"), (5, b"5-again"), (40, b"40")):
        join_one(join, "left", b"k", time_ms, payload)
    assert [pair.left for pair in join_one(join, "right", b"k", 6, b"r")] == [b"3", b"5", b"5-again"]


def test_the_bound_itself_is_inside_and_the_watermark_too() -> None:
    join = StreamJoin("trips", within_ms=10, kind="left")
    join_one(join, "left", b"k", 0, b"l")
    assert join.expire(10) == []
    assert [pair.right for pair in join_one(join, "right", b"k", 10, b"r")] == [b"r"]
    join_one(join, "left", b"k", 21, b"alone")
    assert join_one(join, "right", b"k", 10, b"r2") == [Joined(0, b"k", 0, 10, b"l", b"r2")]
    assert [row.payload for row in join.expire(32)] == [b"alone"]


def test_a_row_behind_the_watermark_meets_what_is_still_there_and_goes_with_the_next_expiry() -> None:
    join = StreamJoin("trips", within_ms=10, kind="outer")
    join_one(join, "left", b"k", 100, b"l")
    join.expire(105)
    assert len(join_one(join, "right", b"k", 92, b"late")) == 1
    assert join_one(join, "right", b"k", 20, b"too late") == []
    assert join.expire(105) == [LoneRow("right", b"k", 20, b"too late")]


def test_a_row_that_comes_and_goes_between_two_commits_is_never_written() -> None:
    join = StreamJoin("trips", within_ms=10)
    join_one(join, "left", b"k", 0, b"l")
    join.expire(100)
    assert join.take_changes() == ([], [])


def test_an_unknown_format_names_the_join_and_the_version() -> None:
    with pytest.raises(ConfigurationError, match=r"'trips'.* format version 9"):
        StreamJoin("trips", within_ms=1).load([b"key"], [b"\x09..."])


def test_a_bound_below_zero_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'trips'.*0 or more"):
        StreamJoin("trips", within_ms=-1)
