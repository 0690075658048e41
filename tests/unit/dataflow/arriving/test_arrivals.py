"""Rows of one topic partition: in which order they go, which are late, and that a restart takes each exactly once."""

from __future__ import annotations

from itertools import accumulate
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from streamserve.dataflow.arriving.arrivals import Arrivals, InLogOrder, InTimeOrder, Row
from streamserve.dataflow.arriving.channels import IDLE_MS, Marker, headers_from
from streamserve.errors import DecodeError, FutureRecord, LateRecord
from streamserve.kafka.marks import Limits, Progress
from tests.unit.dataflow.fakes import FakeRecord

ALLOWED_MS = 10
LIMITS = Limits(ALLOWED_MS, future_ms=40)
"""Records of these tests have the Kafka timestamp 0."""


def row(offset: int, time_ms: int) -> Row:
    """A row; time -1 stands for a record that does not decode."""
    value = DecodeError("broken") if time_ms < 0 else offset
    return Row(max(time_ms, 0), "t", FakeRecord(_offset=offset, _topic="t"), value)


def drain(arrivals: Arrivals, *, idle: bool = False) -> list[Row]:
    rows: list[Row] = []
    while arrivals.head_ms(idle=idle) is not None:
        rows.append(arrivals.pop())
    return rows


def told(item: Row) -> tuple[int, int, bool]:
    """Return what a test compares of a row: offset, time, and whether it is at fault."""
    return item.offset, item.time_ms, isinstance(item.value, Exception)


def late_by_definition(times: list[int]) -> list[bool]:
    newest = accumulate(times, max)
    return [0 <= time < top - ALLOWED_MS for time, top in zip(times, newest, strict=True)]


LOGS = st.lists(st.integers(-1, 60), max_size=40)


@given(LOGS)
def test_rows_within_the_allowed_lateness_go_in_order_of_time_and_late_ones_are_told(times: list[int]) -> None:
    arrivals = InTimeOrder(Limits(ALLOWED_MS), Progress(0), refuses_late=True)
    for offset, time_ms in enumerate(times):
        arrivals.hold(row(offset, time_ms))
    late = late_by_definition(times)
    gone = drain(arrivals, idle=True)
    on_time = [item.time_ms for item in gone if not isinstance(item.value, Exception)]
    assert on_time == sorted(time for time, is_late in zip(times, late, strict=True) if time >= 0 and not is_late)
    assert sorted(item.offset for item in gone if isinstance(item.value, LateRecord)) == [
        offset for offset, is_late in enumerate(late) if is_late
    ]
    assert len(gone) == len(times)
    assert arrivals.backlog() == 0


@given(st.lists(st.integers(-1, 60), max_size=40), st.booleans())
def test_rows_of_the_future_go_as_if_they_had_not_come(times: list[int], sorts: bool) -> None:
    """What is left is late, and stands in the order, as without them; they themselves wait for nothing."""
    kind = InTimeOrder if sorts else InLogOrder
    arrivals, without = (kind(LIMITS, Progress(0), refuses_late=True) for _ in range(2))
    for offset, time_ms in enumerate(times):
        arrivals.hold(row(offset, time_ms))
        if time_ms <= 40:
            without.hold(row(offset, time_ms))
    gone = drain(arrivals, idle=True)
    assert [item.offset for item in gone if isinstance(item.value, FutureRecord)] == [
        offset for offset, time_ms in enumerate(times) if time_ms > 40
    ]
    rest = [told(item) for item in gone if not isinstance(item.value, FutureRecord)]
    assert rest == [told(item) for item in drain(without, idle=True)]
    assert arrivals.watermark_ms() == without.watermark_ms()


def test_a_row_waits_until_no_earlier_one_is_allowed_to_come() -> None:
    arrivals = InTimeOrder(Limits(ALLOWED_MS), Progress(0), refuses_late=False)
    arrivals.hold(row(0, 100))
    assert (arrivals.head_ms(idle=False), arrivals.bound_ms(), arrivals.backlog()) == (None, 90, 0)
    arrivals.hold(row(1, 110))
    assert arrivals.head_ms(idle=False) is None  # one at 100 may still come
    arrivals.hold(row(2, 111))
    assert [item.offset for item in drain(arrivals)] == [0]
    assert [item.offset for item in drain(arrivals, idle=True)] == [1, 2]


@given(LOGS, st.randoms(use_true_random=False), st.booleans(), st.booleans())
def test_a_restart_from_any_commit_takes_every_row_exactly_once(
    times: list[int], chance: Random, sorts: bool, goes_idle: bool
) -> None:
    """Polls, releases, commits and crashes at random; what was not committed is done again, nothing else is."""
    kind = InTimeOrder if sorts else InLogOrder
    committed, done, since = Progress(0), list[int](), list[int]()
    arrivals = kind(LIMITS, committed, refuses_late=True)
    available = polled = 0
    crashes = 6
    while True:
        available = min(len(times), available + chance.randrange(6))
        for _ in range(chance.randrange(8)):
            if polled < available:
                arrivals.hold(row(polled, times[polled]))
                polled += 1
        at_end = polled == len(times)
        idle = at_end or (goes_idle and polled == available and chance.random() < 0.5)
        while arrivals.is_urgent or (arrivals.head_ms(idle=idle) is not None and (at_end or chance.random() < 0.7)):
            since.append(arrivals.pop().offset)
        if crashes and chance.random() < 0.2:
            crashes -= 1
            since.clear()
            arrivals = kind(LIMITS, committed, refuses_late=True)
            polled = committed.position
        elif chance.random() < 0.5 or (at_end and arrivals.head_ms(idle=True) is None):
            committed = arrivals.progress()
            done += since
            since.clear()
            if at_end and arrivals.head_ms(idle=True) is None:
                break
    assert sorted(done) == list(range(len(times)))
    assert committed.position == len(times)


@given(LOGS, st.randoms(use_true_random=False))
def test_which_rows_are_late_does_not_depend_on_restarts(times: list[int], chance: Random) -> None:
    late: set[int] = set()
    arrivals = InTimeOrder(Limits(ALLOWED_MS), Progress(0), refuses_late=True)
    polled = 0
    while polled < len(times):
        arrivals.hold(row(polled, times[polled]))
        polled += 1
        late |= {item.offset for item in drain(arrivals) if isinstance(item.value, LateRecord)}
        if chance.random() < 0.3:
            start = arrivals.progress()
            arrivals, polled = InTimeOrder(Limits(ALLOWED_MS), start, refuses_late=True), max(start.position, 0)
            for offset in range(polled, start.seen or 0):
                arrivals.hold(row(offset, times[offset]))
            polled = max(polled, start.seen or 0)
    assert late == {offset for offset, is_late in enumerate(late_by_definition(times)) if is_late}


def channel_row(offset: int, channel: int, time_ms: int | None, *, marks: bool) -> Row:
    """A row of a regrouped topic, or a marker; a marker without a time says that its channel is idle."""
    record = FakeRecord(_offset=offset, _topic="t", _headers=list(headers_from(channel)))
    if time_ms is None:
        return Row(IDLE_MS, "t", record, Marker(channel))
    return Row(time_ms, "t", record, Marker(channel) if marks else offset)


CHANNEL_LOGS = st.lists(
    st.tuples(st.integers(0, 2), st.one_of(st.none(), st.integers(0, 60)), st.booleans()), max_size=40
)


@given(CHANNEL_LOGS, st.randoms(use_true_random=False))
def test_a_restart_takes_every_regrouped_row_once_though_channels_go_idle_and_speak_again(
    log: list[tuple[int, int | None, bool]], chance: Random
) -> None:
    rows = [channel_row(offset, channel, time, marks=marks) for offset, (channel, time, marks) in enumerate(log)]
    rows += [channel_row(len(rows) + channel, channel, None, marks=True) for channel in range(3)]
    committed, done, since = Progress(0), list[int](), list[int]()
    arrivals = InTimeOrder(Limits(ALLOWED_MS), committed, refuses_late=False, channels=3)
    polled, crashes = 0, 6
    while committed.position < len(rows):
        for item in rows[polled : polled + 1 + chance.randrange(8)]:
            arrivals.hold(item)
            polled += 1
        while arrivals.is_urgent or (arrivals.head_ms(idle=False) is not None and chance.random() < 0.7):
            since.append(arrivals.pop().offset)
        if crashes and chance.random() < 0.2:
            crashes -= 1
            since.clear()
            arrivals = InTimeOrder(Limits(ALLOWED_MS), committed, refuses_late=False, channels=3)
            polled = committed.position
        elif chance.random() < 0.5 or polled == len(rows):
            committed = arrivals.progress()
            done += since
            since.clear()
    assert sorted(done) == [item.offset for item in rows if not isinstance(item.value, Marker)]


@given(LOGS, st.randoms(use_true_random=False))
def test_releases_with_other_limits_take_every_row_exactly_once(times: list[int], chance: Random) -> None:
    """Each restart is another release: it allows more or less of past and future, or takes rows in the log's order."""
    committed, done, since = Progress(0), list[int](), list[int]()
    arrivals: Arrivals = InTimeOrder(Limits(ALLOWED_MS), committed, refuses_late=True)
    polled, releases = 0, 8
    while committed.position < len(times):
        for _ in range(min(1 + chance.randrange(8), len(times) - polled)):
            arrivals.hold(row(polled, times[polled]))
            polled += 1
        at_end = polled == len(times)
        while arrivals.is_urgent or (arrivals.head_ms(idle=at_end) is not None and (at_end or chance.random() < 0.7)):
            since.append(arrivals.pop().offset)
        if chance.random() < 0.7 or at_end:
            committed = arrivals.progress()
            done += since
            since.clear()
        if releases and chance.random() < 0.5:
            releases -= 1
            since.clear()
            kind = chance.choice([InTimeOrder, InTimeOrder, InLogOrder])
            limits = Limits(chance.choice([0, 5, 10, 30]), chance.choice([None, 0, 20, 50]))
            arrivals = kind(limits, committed, refuses_late=True)
            polled = committed.position
    assert sorted(done) == list(range(len(times)))


def test_the_watermark_does_not_go_back_over_a_restart_when_an_idle_channel_had_spoken_again() -> None:
    log = [(0, 60, True), (1, None, True), (1, 5, False), (0, 60, False), (1, 45, False)]
    rows = [channel_row(offset, channel, time, marks=marks) for offset, (channel, time, marks) in enumerate(log)]
    before = InTimeOrder(Limits(ALLOWED_MS), Progress(0), refuses_late=False, channels=2)
    for item in rows:
        before.hold(item)
    assert [item.offset for item in drain(before)] == [2, 4]
    start = before.progress()
    after = InTimeOrder(Limits(ALLOWED_MS), start, refuses_late=False, channels=2)
    for item in rows[start.position :]:
        after.hold(item)
    after.hold(channel_row(5, 0, None, marks=True))
    after.hold(channel_row(6, 1, None, marks=True))
    assert [item.offset for item in drain(after)] == [3]


@given(st.permutations([0, 1, 2]))
def test_where_all_channels_are_idle_time_is_that_of_the_furthest_whichever_is_idle_first(order: list[int]) -> None:
    """A restart after each step changes nothing."""
    progress, watermark_ms = Progress(0), None
    told = [(0, 50), (1, 200), (2, 100), *((channel, IDLE_MS) for channel in order)]
    for offset, (channel, time_ms) in enumerate(told):
        arrivals = InTimeOrder(Limits(ALLOWED_MS), progress, refuses_late=True, channels=3)
        arrivals.hold(Row(time_ms, "t", FakeRecord(_offset=offset, _topic="t"), Marker(channel)))
        progress, watermark_ms = arrivals.progress(), arrivals.watermark_ms()
    assert watermark_ms == 200 - ALLOWED_MS
