"""Nothing that an app comes to depends on how its input was cut into batches, or on how batches were committed."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typing_extensions import override

from streamserve import App, Batch, Stream, Topic, aggregates, hopping, session, sliding, tumbling
from streamserve.observer import Observer
from streamserve.records import Coordinates, to_epoch_ms
from streamserve.state.windows import WindowSpec
from streamserve.testing import Harness

pytestmark = pytest.mark.timeout(600)
"""Each test runs apps by the dozen, which takes seconds of the processor, and minutes where others want it too."""

START = datetime(2024, 1, 1, tzinfo=UTC)
LATE: tuple[Late, ...] = ("process", "drop", "dead-letter")
Late: TypeAlias = Literal["process", "drop", "dead-letter"]
Kind: TypeAlias = Literal["inner", "left", "outer"]


class Cut(NamedTuple):
    """How the input is cut: records of a poll, and records after which a transaction ends."""

    poll: int
    transaction: int = 200_000


WHOLE = Cut(10_000)
CUTS = (Cut(1, 1), Cut(7, 20), Cut(64))


Made: TypeAlias = tuple[App, Mapping[str, Topic["Event", str]]]
"""An app and the topics that it reads."""

Maker: TypeAlias = Callable[[Cut], Made]
"""Makes an app whose input is cut in some way."""


class Event(msgspec.Struct, frozen=True):
    n: int
    user: str
    at: datetime
    wait: int = 0


class Said(msgspec.Struct, frozen=True):
    user: str
    what: str
    n: int = 0


class Seen(NamedTuple):
    """What a reader sees in the end: outputs in order; dead letters; changelogs, folded; how many were late."""

    outputs: Mapping[str, Sequence[tuple[int | None, bytes | None, bytes | None]]]
    dead_letters: Sequence[tuple[str, str, Coordinates]]
    changelogs: Mapping[str, Mapping[bytes, bytes]]
    late: Mapping[str, int]


class Counting(Observer):
    """Counts what comes late, by topic or window."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    @override
    def late(self, step: str, records: int) -> None:
        self.counts[step] = self.counts.get(step, 0) + records


Given: TypeAlias = Sequence[tuple[str, Event]]
"""Events in the order of their arrival, each with its topic."""


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def seen(make: Maker, given: Given, cut: Cut, partitions: int = 2) -> Seen:
    """Return what the app comes to when all of its input is there before it starts."""
    (app, topics), counting = make(cut), Counting()
    harness = Harness(app, partitions=partitions, observer=counting)
    _, kafka = harness.kafka
    for topic, event in given:
        value, time_ms = msgspec.json.encode(event), to_epoch_ms(event.at)
        kafka.append(topic, value, event.user.encode(), timestamp_ms=time_ms)
    with harness:
        return _read(harness, app, topics, counting)


def _read(harness: Harness, app: App, inputs: Collection[str], counting: Counting) -> Seen:
    plan = app.plan()
    engine = plan.engine_topics()
    own = [topic for topic in plan.topics if topic not in inputs and plan.topics[topic].upstream is None]
    outputs = [*own, *(topic for topic in engine if topic == plan.performance_topic)]
    return Seen(
        {
            topic: sorted(
                [(record.partition(), record.key(), record.value()) for record in harness.read_bytes(topic)],
                key=lambda found: (found[0] or 0, found[1] if topic == "waits" else b""),
            )
            for topic in outputs
        },
        sorted((found.step, found.reason, found.source) for found in harness.dead_letters()),
        {topic: _comparable(harness.changelog(topic)) for topic in engine if topic.endswith("-changelog")},
        counting.counts,
    )


def _comparable(changelog: Mapping[bytes, bytes]) -> Mapping[bytes, bytes]:
    """Leave out pickled metrics of labels, whose dicts keep the order of classes: reports tell what they come to."""
    return {key: b"metrics" if key.startswith(b"s\x94") else value for key, value in changelog.items()}


def check(make: Maker, given: Given, cuts: Sequence[Cut] = CUTS, partitions: int = 2) -> Seen:
    """Make sure that all cuts come to the same, and return what."""
    whole = seen(make, given, WHOLE, partitions)
    for cut in cuts:
        assert seen(make, given, cut, partitions) == whole, cut
    return whole


def events(topics: Sequence[str] = ("events",), users: int = 3, seconds: int = 120) -> st.SearchStrategy[Given]:
    """Return logs whose times go up and down."""
    rows = st.tuples(
        st.sampled_from(topics), st.integers(0, users - 1), st.integers(-15, 15), st.integers(-5, 40), st.integers(0, 3)
    )

    def given(found: list[tuple[str, int, int, int, int]]) -> Given:
        made: list[tuple[str, Event]] = []
        now = 30
        for n, (topic, user, step, wait, leap) in enumerate(found):
            now += leap
            made.append((topic, Event(n, f"u{user}", at(min(max(now + min(step, 4), 0), seconds * 10)), wait)))
        return made

    return st.lists(rows, max_size=40).map(given)


def new_app(cut: Cut) -> App:
    sizes: dict[str, Any] = {"max_poll_records": cut.poll, "max_transaction_records": cut.transaction}
    return App("cut", **sizes)


def read_by(app: App, name: str, late: Late = "process", allowed: str = "0s") -> Topic[Event, str]:
    return app.topic(name, Event, key="user", event_time="at", late=late, max_out_of_orderness=allowed)


# --- timers ----------------------------------------------------------------------------------------------------------


def timers_app(cut: Cut, kind: str = "agent", allowed: str = "0s") -> Made:
    """An app that sets a timer at each event, after the event's own time, or before it."""
    app = new_app(cut)
    source = read_by(app, "events", allowed=allowed)
    out, waits = app.topic("out", Said, key="user"), app.topic("waits", Said, key="user")
    count = app.table("count", int, default=int, ttl="20s")
    last = app.table("last", int, default=int)

    def note(event: Event) -> Said:
        number = count.update(event.user, lambda number: number + 1)
        count.set_timer(event.user, event.at + timedelta(seconds=event.wait))
        last[event.user] = event.n
        return Said(event.user, f"saw {number}", event.n)

    @count.on_timer(to=waits)
    async def waited(user: str) -> AsyncIterator[Said]:  # pyright: ignore[reportUnusedFunction]
        number = count.update(user, lambda number: number + 100)
        yield Said(user, f"waited {number}", last[user])
        if number % 3 == 0:
            count.set_timer(user, "7s")

    if kind == "batch":

        @app.batch_agent(source, to=out)
        def note_all(batch: Batch[Event]) -> Sequence[Said]:  # pyright: ignore[reportUnusedFunction]
            return [note(event) for event in batch]
    else:

        @app.agent(source, to=out, io=kind == "io")
        async def note_each(stream: Stream[Event]) -> AsyncIterator[Said]:  # pyright: ignore[reportUnusedFunction]
            async for event in stream:
                yield note(event)

    return app, {"events": source}


@settings(max_examples=8, deadline=None)
@given(events())
def test_timers_fire_where_the_watermark_passes_them(given: Given) -> None:
    check(timers_app, given)


@pytest.mark.parametrize("kind", ["batch", "io"])
@settings(max_examples=3, deadline=None)
@given(given=events())
def test_timers_of_other_agents_fire_where_the_watermark_passes_them(kind: str, given: Given) -> None:
    check(lambda cut: timers_app(cut, kind), given, [Cut(1), Cut(7)])


def test_a_backlog_in_one_batch_swallows_no_timer() -> None:
    given = [("events", Event(n, f"u{n % 2}", at(10 * n), 5)) for n in range(100)]
    whole = check(timers_app, given, [Cut(1)], partitions=1)
    assert len(whole.outputs["waits"]) >= 99, "each is due before the next event of its user comes"


# --- late ------------------------------------------------------------------------------------------------------------

SPECS: Mapping[str, WindowSpec] = {
    "tumbling": tumbling("10s", grace="3s"),
    "hopping": hopping("10s", step="5s"),
    "sliding": sliding("10s"),
    "session": session("4s", grace="1s"),
}


def windows_app(cut: Cut, kind: str, late: Late, allowed: str) -> Made:
    app = new_app(cut)
    source = read_by(app, "events", late, allowed)
    out = app.topic("out", Said, key="user")
    results = app.topic("closed", Said, key="user")
    sums = app.aggregate(
        "sums",
        source,
        aggregates.sum("n"),
        window=SPECS[kind],
        to=None if kind == "sliding" else results,
        output=lambda window: Said(window.key, f"{window.start} {window.end}", int(window.value or 0)),
    )

    @app.agent(source, to=out)
    async def tell(stream: Stream[Event]) -> AsyncIterator[Said]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Said(event.user, str(sums[event.user]), event.n)

    return app, {"events": source}


@pytest.mark.parametrize("kind", SPECS)
@settings(max_examples=4, deadline=None)
@given(given=events(), late=st.sampled_from(LATE), allowed=st.sampled_from(["0s", "3s"]))
def test_windows_count_and_close_alike(kind: str, late: Late, allowed: str, given: Given) -> None:
    check(lambda cut: windows_app(cut, kind, late, allowed), given, [Cut(1), Cut(7)])


# --- tables ----------------------------------------------------------------------------------------------------------


def shared_app(cut: Cut, allowed: str) -> Made:
    """Two agents with a table between them, one of which reads a further topic; its values live for ten seconds."""
    app = new_app(cut)
    orders, payments = read_by(app, "orders", allowed=allowed), read_by(app, "payments")
    out, paid = app.topic("out", Said, key="user"), app.topic("paid", Said, key="user")
    open_orders = app.table("open", int, ttl="10s")
    due = app.table("due", int, default=int)

    @app.agent(orders, to=out)
    async def order(stream: Stream[Event]) -> AsyncIterator[Said]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Said(event.user, f"open: {open_orders.get(event.user)}", event.n)
            open_orders[event.user] = event.n
            due.set_timer(event.user, event.at + timedelta(seconds=event.wait))

    @app.agent(orders, payments, to=paid)
    async def pay(stream: Stream[Event]) -> AsyncIterator[Said]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Said(event.user, f"pays: {open_orders.get(event.user)}", event.n)
            if event.user in open_orders:
                del open_orders[event.user]
            due.delete_timer(event.user)

    waits = app.topic("waits", Said, key="user")

    @due.on_timer(to=waits)
    async def remind(user: str) -> AsyncIterator[Said]:  # pyright: ignore[reportUnusedFunction]
        yield Said(user, f"reminded of {open_orders.get(user)}")

    return app, {"orders": orders, "payments": payments}


@settings(max_examples=5, deadline=None)
@given(events(("orders", "payments")), st.sampled_from(["0s", "3s"]))
def test_agents_that_share_a_table_take_turns_at_each_record(given: Given, allowed: str) -> None:
    check(lambda cut: shared_app(cut, allowed), given, [Cut(1), Cut(7, 20)])


# --- joins -----------------------------------------------------------------------------------------------------------


def joins_app(cut: Cut, kind: Kind, late: Late, allowed: str) -> Made:
    app = new_app(cut)
    left, right = (read_by(app, name, late, allowed) for name in ("left", "right"))
    out = app.topic("out", Said, key="user")
    join: Any = {"inner": left.join, "left": left.left_join, "outer": left.outer_join}[kind]

    @app.agent(join(right, within="5s"), to=out, ordering="partition")
    async def meet(stream: Stream[Any]) -> AsyncIterator[Said]:  # pyright: ignore[reportUnusedFunction]
        async for one, other in stream:
            known = one or other
            yield Said(known.user, f"{one and one.n} {other and other.n}")

    return app, {"left": left, "right": right}


@pytest.mark.parametrize("kind", ["inner", "left", "outer"])
@settings(max_examples=4, deadline=None)
@given(given=events(("left", "right")), late=st.sampled_from(LATE), allowed=st.sampled_from(["0s", "3s"]))
def test_pairs_and_lone_rows_come_in_one_order(kind: Kind, late: Late, allowed: str, given: Given) -> None:
    check(lambda cut: joins_app(cut, kind, late, allowed), given, [Cut(1), Cut(7)])


# --- labels ----------------------------------------------------------------------------------------------------------


def labels_app(cut: Cut, late: Late, allowed: str) -> Made:
    app = new_app(cut)
    made, true = (read_by(app, name, late, allowed) for name in ("made", "true"))
    app.labels(
        true,
        predictions=made,
        truth=lambda event: event.n % 2 == 0,
        score=lambda event: (event.n % 10) / 10,
        within="8s",
        window="30s",
    )
    return app, {"made": made, "true": true}


@settings(max_examples=4, deadline=None)
@given(events(("made", "true"), users=8), st.sampled_from(LATE), st.sampled_from(["0s", "3s"]))
def test_labels_are_told_in_one_order_and_counted_in_the_same_windows(given: Given, late: Late, allowed: str) -> None:
    check(lambda cut: labels_app(cut, late, allowed), given, [Cut(1), Cut(7)], partitions=1)
