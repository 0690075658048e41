"""What a storm did to an app is found by holding its topics against those of an undisturbed run."""

from __future__ import annotations

import json

import pytest

from streamserve.testing.reading import ReadRecord
from streamserve.testing.verify.comparing import Comparison, compare
from streamserve.testing.verify.findings import Kind

OUT, DEAD, TABLE = "out", "app-dead-letters", "app-table-changelog"
WHAT = Comparison(outputs=[OUT], dead_letters=DEAD, changelogs=[TABLE], ordered=True, ignored=frozenset({"at"}))


def outputs(*values: int, at: int = 0) -> list[ReadRecord]:
    texts = [json.dumps({"n": value, "at": at}).encode() for value in values]
    return [ReadRecord(OUT, 0, offset, b"ann", text, (), 0) for offset, text in enumerate(texts)]


def dead_letter(offset: int) -> ReadRecord:
    headers = [("source-topic", b"in"), ("source-partition", b"0"), ("source-offset", b"%d" % offset)]
    return ReadRecord(DEAD, 0, 0, None, b"", [("failed-at", b"now"), *headers], 0)


def differences(calm: list[ReadRecord], storm: list[ReadRecord]) -> dict[Kind, int]:
    topic = calm[0].topic
    counts = compare({topic: calm}, {topic: storm}, WHAT).counts
    return {kind: count for kind, count in counts.items() if count}


@pytest.mark.parametrize(
    ("storm", "found"),
    [
        (outputs(1, 2, 3), {}),
        (outputs(1, 2, 3, at=9), {}),
        (outputs(1, 3), {"lost": 1}),
        (outputs(1, 2, 2, 3), {"duplicated": 1}),
        (outputs(1, 2, 3, 4), {"phantom": 1}),
        (outputs(2, 1, 3), {"reordered": 1}),
    ],
)
def test_outputs_are_compared_key_by_key(storm: list[ReadRecord], found: dict[Kind, int]) -> None:
    assert differences(outputs(1, 2, 3), storm) == found


def test_dead_letters_are_compared_by_where_they_come_from() -> None:
    assert differences([dead_letter(1)], [dead_letter(1)]) == {}
    assert differences([dead_letter(1)], [dead_letter(1), dead_letter(1)]) == {"duplicated": 1}
    assert differences([dead_letter(1)], [dead_letter(2)]) == {"lost": 1, "phantom": 1}


def test_tables_are_compared_by_the_last_value_of_each_key() -> None:
    one, two = (ReadRecord(TABLE, 0, 0, b"ann", value, (), 0) for value in (b"1", b"2"))
    assert differences([one, two], [two]) == {}
    assert differences([one, two], [two, one]) == {"stale": 1}


def test_a_deleted_key_is_like_one_that_never_was() -> None:
    value, deleted = (ReadRecord(TABLE, 0, 0, b"ann", content, (), 0) for content in (b"1", None))
    assert differences([value, deleted], []) == {}
