"""Records become batches: what does not decode or has no time is a failure, and positions cover everything."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.codecs.json import codec_for
from streamserve.dataflow.intake import Intake, TopicReader
from streamserve.dataflow.merge import EventTimeMerge, Row, cut_at_pushes
from streamserve.dataflow.plan import Part, TopicNode
from streamserve.records import RawRecord
from tests.unit.dataflow.fakes import FakeRecord


class Event(msgspec.Struct, frozen=True):
    n: int
    at: datetime | None = None


def intake_of(*topics: str, push: str = "", event_time: str | Callable[[Any], Any] | None = "at") -> Intake:
    readers = {
        name: TopicReader(
            TopicNode(name, Event, event_time=event_time), codec_for(Event), for_user_code=True, needs_time=True
        )
        for name in topics
    }
    return Intake(Part("part", topics, (), frozenset({push} & {*topics})), readers)


def record(n: int, offset: int, *, second: int | None = None, topic: str = "a", partition: int = 0) -> RawRecord:
    at = datetime.fromtimestamp(n if second is None else second, UTC)
    return FakeRecord(msgspec.json.encode(Event(n, at)), None, offset, partition, topic)


def test_positions_cover_what_failed_too() -> None:
    records = [record(1, 5), FakeRecord(b"{", None, 6, 0, "a"), record(2, 9, partition=1), FakeRecord(None, None, 7)]
    [batch] = intake_of("a").take("a", records)
    assert [event.n for event in batch.values] == [1, 2]
    assert batch.times_ms == [1000, 2000]
    assert list(batch.partitions) == [0, 1]
    assert [failure.record.offset() for failure in batch.failures] == [6, 7]
    assert batch.positions == {("a", 0): 8, ("a", 1): 10}


def fails(_: Event) -> datetime:
    raise KeyError("secret")


def no_datetime(_: Event) -> str:
    return "noon"


@pytest.mark.parametrize(
    ("event_time", "said"),
    [
        (fails, "event-time function raised KeyError"),
        ("n", None),
        (no_datetime, "not str"),
        ("at", "not NoneType"),
    ],
)
def test_a_record_without_an_event_time_is_a_failure(event_time: Any, said: str | None) -> None:
    [batch] = intake_of("a", event_time=event_time).take("a", [FakeRecord(b'{"n": 7}', None, 0, 0, "a")])
    if said is None:
        assert batch.times_ms == [7]
        return
    [failure] = batch.failures
    assert said in str(failure.error)
    assert "secret" not in str(failure.error)
    assert (len(batch), batch.times_ms) == (0, [])


def test_a_merging_part_holds_rows_until_the_other_topic_is_heard_of() -> None:
    intake = intake_of("a", "b")
    assert intake.take("a", [record(1, 0), record(4, 1)]) == []
    assert intake.release({}) == []
    assert intake.held() == {("a", 0): 2, ("b", 0): 0}
    intake.take("b", [record(2, 0, topic="b"), FakeRecord(b"{", None, 1, 0, "b")])
    [batch] = intake.release({})
    assert [event.n for event in batch.values] == [1, 2]
    assert batch.topics == ["a", "b"]
    assert batch.positions == {("a", 0): 1, ("b", 0): 2}
    assert len(batch.failures) == 1
    [rest] = intake.release({0: ["b"]})
    assert [event.n for event in rest.values] == [4]
    intake.take("a", [record(9, 2)])
    intake.forget()
    assert intake.release({0: ["a", "b"]}) == []


def test_a_batch_is_cut_where_pushes_fall() -> None:
    intake = intake_of("a", "p", push="p")
    intake.take("a", [record(n, n) for n in (1, 3, 5)])
    intake.take("p", [record(n, n, topic="p") for n in (2, 4)])
    batches = intake.release({0: ["a", "p"]})
    assert [[event.n for event in batch.values] for batch in batches] == [[1], [2, 3], [4, 5]]


TIMES = st.lists(st.integers(0, 50), max_size=30)


@given(TIMES, TIMES, TIMES)
def test_a_merge_of_topics_in_order_of_time_is_in_order_of_time(a: list[int], b: list[int], c: list[int]) -> None:
    merge = EventTimeMerge(["a", "b", "c"])
    for topic, times in zip("abc", (a, b, c), strict=True):
        merge.hold(topic, [Row(time, topic, FakeRecord(), time) for time in sorted(times)])
    released = merge.release(caught_up=["a", "b", "c"])
    assert [row.time_ms for row in released] == sorted([*a, *b, *c])


@given(TIMES, TIMES)
def test_a_merge_loses_nothing_and_keeps_the_order_of_each_topic(a: list[int], b: list[int]) -> None:
    merge = EventTimeMerge(["a", "b"])
    merge.hold("a", [Row(time, "a", FakeRecord(_offset=n), time) for n, time in enumerate(a)])
    early = merge.release(caught_up=[])
    merge.hold("b", [Row(time, "b", FakeRecord(_offset=n), time) for n, time in enumerate(b)])
    late = [*merge.release(caught_up=[]), *merge.release(caught_up=["a", "b"])]
    assert early == []
    for topic, times in (("a", a), ("b", b)):
        assert [row.time_ms for row in late if row.topic == topic] == times


@given(st.lists(st.sampled_from("fgw"), max_size=30))
def test_cuts_keep_every_row_and_no_push_follows_an_event_in_a_segment(topics: list[str]) -> None:
    rows = [Row(n, topic, FakeRecord(), n) for n, topic in enumerate(topics)]
    segments = cut_at_pushes(rows, {"w"})
    assert [row for segment in segments for row in segment] == rows
    for segment in segments:
        pushes = [row.topic == "w" for row in segment]
        assert pushes == sorted(pushes, reverse=True)
