from __future__ import annotations

from datetime import UTC, datetime

import pytest

from streamserve.ops.dead_letters import Wanted, newest
from streamserve.records import Coordinates

from .letters import letter


def test_the_headers_of_the_engine_and_of_the_record_are_kept_apart() -> None:
    found = letter(b"{}", ("step", b"mine"), ("trace", None))
    assert (found.step, found.reason, found.error, found.message) == (
        "decode",
        "decode",
        "DecodeError",
        "user: Field required",
    )
    assert (found.source, found.source_ms) == (Coordinates("clicks", 3, 41), 1000)
    assert found.headers == [("step", b"mine"), ("trace", None)]
    assert found.replays == 0


def test_facts_have_neither_key_nor_payload() -> None:
    told = str(letter(b"secret-value", ("token", b"secret-header")).facts())
    assert "secret" not in told
    assert "u1" not in told
    assert "1970-01-01T00:00:05.000Z" in told


def test_a_record_that_failed_again_says_how_often_it_was_replayed() -> None:
    assert letter(b"{}", ("streamserve-replays", b"2")).replays == 2
    assert letter(b"{}", ("streamserve-replays", b"many")).replays == 0


def test_a_lost_result_comes_from_a_window() -> None:
    found = letter(None, headers=(("step", b"hourly"), ("window", b"hourly")))
    assert (found.source, found.came_from) == (None, "window hourly")


def test_what_a_timer_left_comes_from_its_table() -> None:
    found = letter(None, headers=(("step", b"since"), ("table", b"since"), ("table-partition", b"1")))
    assert (found.source, found.came_from, found.facts()["table"]) == (None, "timer of since", "since")


@pytest.mark.parametrize(
    ("wanted", "taken"),
    [
        (Wanted(), True),
        (Wanted(reason="decode", step="decode"), True),
        (Wanted(reason="agent"), False),
        (Wanted(step="note"), False),
        (Wanted(since=datetime(1970, 1, 1, 0, 0, 5, tzinfo=UTC)), True),
        (Wanted(since=datetime(1970, 1, 1, 0, 0, 6, tzinfo=UTC)), False),
        (Wanted(places={(0, 17), (1, 1)}), True),
        (Wanted(places={(1, 17)}), False),
    ],
)
def test_all_that_is_asked_for_has_to_hold(wanted: Wanted, *, taken: bool) -> None:
    assert wanted.takes(letter(b"{}")) is taken


def test_only_the_newest_are_kept_and_all_are_counted() -> None:
    from dataclasses import replace

    made = letter(b"{}")
    letters = [
        replace(made, time_ms=offset, at=Coordinates("dead", offset % 2, offset)) for offset in (0, 1, 3, 2, 4, 5)
    ]
    kept, count = newest(letters, 3)
    assert ([one.at.offset for one in kept], count) == ([3, 4, 5], 6)
