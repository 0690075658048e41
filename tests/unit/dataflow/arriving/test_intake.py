"""Records become batches: what does not decode or has no time is a failure, and positions cover everything."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.codecs.json import codec_for
from streamserve.dataflow.arriving.arrivals import InLogOrder, Row
from streamserve.dataflow.arriving.intake import Intake, TopicReader
from streamserve.dataflow.arriving.merge import EventTimeMerge, Waits
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.planning.nodes import TopicNode
from streamserve.dataflow.planning.plan import Part
from streamserve.errors import TransactionAborted
from streamserve.kafka.marks import Limits, Progress
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
    intake = Intake(Part("part", topics, (), frozenset({push} & {*topics})), readers)
    intake.begin(0, {})
    return intake


def positions_of(batch: RecordBatch) -> dict[tuple[str, int], int]:
    return {key: progress.position for key, progress in batch.progress.items()}


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
    assert positions_of(batch) == {("a", 0): 8, ("a", 1): 10}


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
    assert intake.backlog() == {("a", 0): 2, ("b", 0): 0}
    intake.take("b", [record(2, 0, topic="b"), FakeRecord(b"{", None, 1, 0, "b")])
    [batch] = intake.release({})
    assert [event.n for event in batch.values] == [1, 2]
    assert batch.topics == ["a", "b"]
    assert positions_of(batch) == {("a", 0): 1, ("b", 0): 2}
    assert len(batch.failures) == 1
    [rest] = intake.release({0: Waits({"b"})})
    assert [event.n for event in rest.values] == [4]
    intake.take("a", [record(9, 2)])
    intake.forget()
    assert intake.release({0: Waits({"a", "b"})}) == []


@pytest.mark.parametrize("topics", [("a",), ("a", "b")])
def test_a_client_that_goes_back_in_the_log_ends_the_incarnation(topics: tuple[str, ...]) -> None:
    intake = intake_of(*topics)
    intake.begin(0, {"a": Progress(5)})
    with pytest.raises(TransactionAborted, match=r"a\[0\]: offset 4 came where 5 was due"):
        intake.take("a", [record(1, 4)])
    intake.take("a", [record(1, 5), record(2, 9)])
    with pytest.raises(TransactionAborted, match="offset 9 came where 10 was due"):
        intake.take("a", [record(2, 9)])
    intake.forget()
    intake.begin(0, {"a": Progress(9)})
    intake.take("a", [record(2, 9)])


def test_a_batch_is_cut_where_pushes_fall() -> None:
    intake = intake_of("a", "p", push="p")
    intake.take("a", [record(n, n) for n in (1, 3, 5)])
    intake.take("p", [record(n, n, topic="p") for n in (2, 4)])
    batches = intake.release({0: Waits({"a", "p"})})
    assert [[event.n for event in batch.values] for batch in batches] == [[1], [2, 3], [4, 5]]


TIMES = st.lists(st.integers(0, 50), max_size=30)


def merge_of(*topics: str) -> EventTimeMerge:
    return EventTimeMerge({topic: InLogOrder(Limits(), Progress(0), refuses_late=False) for topic in topics})


def rows_of(topic: str, times: Iterable[int]) -> list[Row]:
    return [Row(time, topic, FakeRecord(_offset=n, _topic=topic), time) for n, time in enumerate(times)]


def released(merge: EventTimeMerge, *caught_up: str) -> list[Row]:
    return [row for segment in merge.release(Waits(caught_up)) for row in segment.rows]


@given(TIMES, TIMES, TIMES)
def test_a_merge_of_topics_in_order_of_time_is_in_order_of_time(a: list[int], b: list[int], c: list[int]) -> None:
    merge = merge_of("a", "b", "c")
    for topic, times in zip("abc", (a, b, c), strict=True):
        merge.hold(rows_of(topic, sorted(times)))
    assert [row.time_ms for row in released(merge, "a", "b", "c")] == sorted([*a, *b, *c])


@given(TIMES, TIMES)
def test_a_merge_loses_nothing_and_keeps_the_order_of_each_topic(a: list[int], b: list[int]) -> None:
    merge = merge_of("a", "b")
    merge.hold(rows_of("a", a))
    early = released(merge)
    merge.hold(rows_of("b", b))
    late = [*released(merge), *released(merge, "a", "b")]
    assert early == []
    for topic, times in (("a", a), ("b", b)):
        assert [row.time_ms for row in late if row.topic == topic] == times


@given(st.lists(st.sampled_from("fgw"), max_size=30))
def test_cuts_keep_every_row_and_no_push_follows_an_event_in_a_segment(topics: list[str]) -> None:
    merge = merge_of("f", "g", "w")
    rows = [Row(n, topic, FakeRecord(_offset=n, _topic=topic), n) for n, topic in enumerate(topics)]
    merge.hold(rows)
    segments = merge.release(Waits({"f", "g", "w"}), {"w"})
    assert [row for segment in segments for row in segment.rows] == rows
    for segment in segments:
        pushes = [row.topic == "w" for row in segment.rows]
        assert pushes == sorted(pushes, reverse=True)
        assert segment.progress == {row.topic: Progress(row.offset + 1, (row.time_ms,)) for row in segment.rows}
