"""Joins of two streams, run by the engine on an in-memory Kafka, with and without faults."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Literal, NamedTuple, TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve import App, Batch, Stream, Topic
from streamserve.agents import Source
from streamserve.errors import ConfigurationError
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)
FAULTS: tuple[Fault, ...] = ("crash", "abort", "fence", "rebalance")
WITHIN, LATENESS = 10, 20
KINDS: tuple[Kind, ...] = ("inner", "left", "outer")
Kind: TypeAlias = Literal["inner", "left", "outer"]


class Event(msgspec.Struct, frozen=True):
    n: int
    user: str = "u"
    at: datetime = START
    group: str = "g"


class Met(msgspec.Struct, frozen=True):
    left: int | None
    right: int | None
    user: str = "u"


Pair: TypeAlias = tuple[Event | None, Event | None]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


class Joined(NamedTuple):
    app: App
    left: Topic[Event, str]
    right: Topic[Event, str]
    out: Topic[Met, str]


def declared(lateness: int = LATENESS) -> Joined:
    app = App("joining")
    allowed = f"{lateness}s"
    left = app.topic("left", Event, key="user", event_time="at", max_out_of_orderness=allowed)
    right = app.topic("right", Event, key="user", event_time="at", max_out_of_orderness=allowed)
    return Joined(app, left, right, app.topic("out", Met, key="user"))


def joined(kind: Kind, lateness: int = LATENESS) -> Joined:
    made = declared(lateness)

    @made.app.agent(source_of(made, kind), to=made.out)
    async def tell(stream: Stream[Pair]) -> AsyncIterator[Met]:  # pyright: ignore[reportUnusedFunction]
        async for pair in stream:
            yield met(pair)

    return made


def source_of(made: Joined, kind: Kind) -> Source[Pair, str]:
    within = f"{WITHIN}s"
    if kind == "inner":
        return made.left.join(made.right, within=within)
    if kind == "left":
        return made.left.left_join(made.right, within=within)
    return made.left.outer_join(made.right, within=within)


def met(pair: Pair) -> Met:
    left, right = pair
    known = left or right
    assert known is not None
    return Met(left and left.n, right and right.n, known.user)


class Arrival(NamedTuple):
    side: Literal["left", "right"]
    seconds: int
    user: str


ARRIVALS = st.lists(
    st.builds(Arrival, st.sampled_from(("left", "right")), st.integers(0, 100), st.sampled_from(["a", "b", "c"])),
    max_size=25,
)


def expected(arrivals: Sequence[Arrival], kind: Kind) -> list[Met]:
    """Return every pair, and every row that is alone, by comparing each with each."""
    sides: dict[str, list[tuple[int, Arrival]]] = {"left": [], "right": []}
    for n, arrival in enumerate(arrivals):
        sides[arrival.side].append((n, arrival))
    pairs = [
        (n, m, one.user)
        for n, one in sides["left"]
        for m, other in sides["right"]
        if one.user == other.user and abs(one.seconds - other.seconds) <= WITHIN
    ]
    found = [Met(*pair) for pair in pairs]
    if kind != "inner":
        found += [Met(n, None, one.user) for n, one in sides["left"] if n not in {pair[0] for pair in pairs}]
    if kind == "outer":
        found += [Met(None, m, one.user) for m, one in sides["right"] if m not in {pair[1] for pair in pairs}]
    return found


def in_order(results: Sequence[Met]) -> list[tuple[str, int, int]]:
    return sorted(
        (one.user, -1 if one.left is None else one.left, -1 if one.right is None else one.right) for one in results
    )


@settings(max_examples=40, deadline=None)
@given(
    ARRIVALS,
    st.sampled_from(KINDS),
    st.randoms(use_true_random=False),
    st.sampled_from([None, *FAULTS]),
    st.booleans(),
)
def test_pairs_are_those_of_a_comparison_of_all_with_all(
    arrivals: list[Arrival], kind: Kind, chance: Any, fault: Fault | None, restarts: bool
) -> None:
    """Whatever the order within the allowed lateness, the polls, the faults, and a restart of the app in the middle."""
    shuffled = sorted(range(len(arrivals)), key=lambda n: arrivals[n].seconds + chance.uniform(0, LATENESS))
    made = joined(kind)
    harness = Harness(made.app, partitions=3)
    with harness:
        for place, n in enumerate(shuffled):
            if restarts and place == len(shuffled) // 2:
                break
            send(harness, made, n, arrivals[n], fault if chance.random() < 0.2 else None)
    with Harness(made.app, partitions=3, after=harness) as harness:
        for n in shuffled[len(shuffled) // 2 :] if restarts else []:
            send(harness, made, n, arrivals[n], fault if chance.random() < 0.2 else None)
        harness.advance("1h")
        harness.send(made.left, *(Event(-1, f"end-{n}", at(10_000)) for n in range(30)))
        harness.send(made.right, *(Event(-1, f"end-{n}", at(20_000)) for n in range(30)))
        harness.advance("1h")
        results = [record.value for record in harness.read(made.out)]
        assert harness.dead_letters() == []
    assert in_order([one for one in results if not one.user.startswith("end")]) == in_order(expected(arrivals, kind))


def send(harness: Harness, made: Joined, n: int, arrival: Arrival, fault: Fault | None) -> None:
    if fault is not None:
        harness.fault(fault)
    topic = made.left if arrival.side == "left" else made.right
    harness.send(topic, Event(n, arrival.user, at(arrival.seconds)))


def test_a_row_stays_alone_once_its_topics_are_silent_and_nothing_more_arrives() -> None:
    made = joined("left", lateness=0)
    with Harness(made.app) as harness:
        harness.send(made.right, Event(7, at=at(0)))
        harness.send(made.left, Event(1, at=at(5)), Event(2, at=at(30)), Event(3, at=at(41)))
        assert [record.value for record in harness.read(made.out)] == [Met(1, 7)]
        harness.advance("1m")
        assert [record.value for record in harness.read(made.out)] == [Met(1, 7), Met(2, None)]


def test_a_topic_that_may_still_speak_holds_lonely_rows_back() -> None:
    made = joined("left", lateness=0)
    with Harness(made.app) as harness:
        harness.send(made.left, Event(1, at=at(0)), Event(2, at=at(100)))
        assert harness.read(made.out) == []
        harness.send(made.right, Event(7, at=at(9)), Event(8, at=at(100)))
        assert [record.value for record in harness.read(made.out)] == [Met(1, 7), Met(2, 8)]


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_regrouped_topic_is_joined_under_its_new_key(fault: Fault | None) -> None:
    made = declared(lateness=0)
    source = made.left.group_by("group").left_join(made.right, within=f"{WITHIN}s", name="met")

    @made.app.agent(source, to=made.out)
    async def tell(stream: Stream[tuple[Event, Event | None]]) -> AsyncIterator[Met]:  # pyright: ignore[reportUnusedFunction]
        async for pair in stream:
            yield Met(pair[0].n, pair[1] and pair[1].n, pair[0].group)

    with Harness(made.app, partitions=3) as harness:
        harness.send(made.left, *(Event(n, f"u{n}", at(n), "odd" if n % 2 else "even") for n in range(6)))
        if fault is not None:
            harness.fault(fault)
        harness.send(made.right, Event(100, "even", at(12)))
        for _ in range(5):
            harness.advance("10s")
        for n in range(20):
            harness.send(made.left, Event(-1, f"u{n}", at(1_000), f"end-{n}"))
        for _ in range(5):
            harness.advance("10s")
        results = [record.value for record in harness.read(made.out) if record.value.left != -1]
    assert in_order(results) == in_order(
        [
            *(Met(n, None, "odd") for n in (1, 3, 5)),
            *(Met(n, 100, "even") for n in (2, 4)),
            Met(0, None, "even"),
        ]
    )


def test_a_pairs_record_is_the_one_that_completed_it_and_a_lonely_rows_its_own() -> None:
    made = declared(lateness=0)
    seen: list[tuple[Any, ...]] = []

    @made.app.agent(source_of(made, "outer"))
    async def look(stream: Stream[Pair]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            assert record.partition == 0
            seen.append((record.topic, record.offset, record.key, record.timestamp, dict(record.headers), record.value))

    first, second, third = Event(1, at=at(0)), Event(2, at=at(3)), Event(3, at=at(50))
    with Harness(made.app) as harness:
        harness.send(made.right, first, timestamp=at(7), headers={"trace": b"1"})
        harness.send(made.left, second, timestamp=at(8), headers={"trace": b"2"})
        harness.send(made.right, third, timestamp=at(9), headers={"trace": b"3"})
        harness.fault("crash")
        harness.send(made.left, Event(4, "v", at(90)))
        harness.send(made.right, Event(5, "w", at(90)))
    assert list(dict.fromkeys(map(repr, seen))) == [
        repr(("left", 0, "u", at(8), {"trace": b"2"}, (second, first))),
        repr(("right", 1, "u", at(9), {"trace": b"3"}, (None, third))),
    ]


def test_an_event_without_a_key_is_alone_at_once() -> None:
    app = App("joining")
    left = app.topic("left", Event, key=lambda event: event.user or None, event_time="at")
    right = app.topic("right", Event, key=lambda event: event.user or None, event_time="at")
    out = app.topic("out", Met, key="user")

    @app.batch_agent(left.left_join(right, within="10s"), to=out)
    def tell(batch: Batch[tuple[Event, Event | None], Any]) -> Sequence[Met]:  # pyright: ignore[reportUnusedFunction]
        assert all(record.value is pair for record, pair in zip(batch.records, batch, strict=True))
        return [met(pair) for pair in batch]

    with Harness(app) as harness:
        harness.send(right, Event(1, "", at(1)), Event(2, "u", at(1)))
        harness.send(left, Event(3, "", at(1)), Event(4, "u", at(1)))
        assert in_order([record.value for record in harness.read(out)]) == in_order([Met(3, None, ""), Met(4, 2)])


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_agents_on_pairs_have_tables_of_the_records_key(fault: Fault | None) -> None:
    made = declared(lateness=0)
    counts = made.app.table("counts", int, default=int)

    @made.app.agent(source_of(made, "left"), to=made.out)
    async def count(stream: Stream[Pair]) -> AsyncIterator[Met]:  # pyright: ignore[reportUnusedFunction]
        async for left, right in stream:
            assert left is not None
            yield Met(left.n, counts.update(left.user, lambda number: number + 1), left.user)
            if right is not None and right.n < 0:
                raise ValueError

    with Harness(made.app, partitions=2) as harness:
        harness.send(made.left, Event(1, "a", at(0)), Event(2, "b", at(1)), Event(3, "a", at(2)))
        if fault is not None:
            harness.fault(fault)
        harness.send(made.right, Event(5, "a", at(3)), Event(-1, "b", at(3)))
        harness.send(made.left, *(Event(0, key, at(100)) for key in "ab"))
        harness.send(made.right, *(Event(0, key, at(200)) for key in "ab"))
        assert harness.table(counts) == {"a": 2}
        [letter] = harness.dead_letters()
    assert (letter.source.topic, letter.key, letter.reason) == ("right", b"b", "agent")


def test_what_is_kept_is_the_bound_s_and_ends_with_it() -> None:
    made = joined("inner", lateness=0)
    changelog = "joining-left-join-right-changelog"
    assert changelog in made.app.plan().engine_topics()
    with Harness(made.app) as harness:
        harness.send(made.left, Event(1, at=at(0)), Event(2, at=at(4)))
        assert len(harness.changelog(changelog)) == 2
        harness.send(made.right, Event(3, at=at(12)))
        harness.send(made.left, Event(4, at=at(12)))
        assert len(harness.changelog(changelog)) == 3


def test_a_kept_row_that_no_longer_fits_its_type_stops_the_app() -> None:
    class Wider(msgspec.Struct, frozen=True):
        more: int
        user: str = "u"
        at: datetime = START

    def app_of(kind: type[Any]) -> Joined:
        app = App("joining")
        left, right = app.topic("left", kind, key="user", event_time="at"), app.topic("right", Event, key="user")
        made = Joined(app, left, right, app.topic("out", Met, key="user"))

        @app.agent(left.join(right, within="1000d"), to=made.out)
        async def tell(stream: Stream[Any]) -> AsyncIterator[Met]:  # pyright: ignore[reportUnusedFunction]
            async for _ in stream:
                yield Met(None, None)

        return made

    made = app_of(Event)
    with Harness(made.app) as first:
        first.send(made.left, Event(1))
    made = app_of(Wider)
    with (
        pytest.raises(ConfigurationError, match="does not fit the topic's type any more"),
        Harness(made.app, after=first) as second,
    ):
        second.send(made.right, Event(2))


@pytest.mark.parametrize("fault", [None, *FAULTS])
def test_a_lonely_rows_output_that_does_not_encode_costs_one_dead_letter(fault: Fault | None) -> None:
    made = declared(lateness=0)
    counts = made.app.table("counts", int, default=int)

    @made.app.agent(source_of(made, "left"), to=made.out)
    async def tell(stream: Stream[Pair]) -> AsyncIterator[Any]:  # pyright: ignore[reportUnusedFunction]
        async for left, right in stream:
            assert left is not None
            counts.update(left.user, lambda number: number + 1)
            yield met((left, right)) if left.n else "not a value of the topic"

    with Harness(made.app) as harness:
        harness.send(made.left, Event(0, "a", at(0)), Event(1, "b", at(0)))
        if fault is not None:
            harness.fault(fault)
        for seconds in (1, 50, 100):
            harness.send(made.right, Event(9, "c", at(seconds)))
            harness.send(made.left, Event(9, "c", at(seconds)))
        assert harness.table(counts) == {"b": 1, "c": 3}
        [letter] = harness.dead_letters()
    assert (letter.source.topic, letter.source.offset, letter.key) == ("left", 0, b"a")


def number_in(row: Mapping[str, Any]) -> int:
    return int(row["x"])


def test_features_of_a_pairs_event_are_looked_up_at_the_pairs_time() -> None:
    made = declared(lateness=0)
    features = made.app.features("users", event=Event)

    @made.app.agent(source_of(made, "inner"), to=made.out, name="one")
    async def one(stream: Stream[Pair]) -> AsyncIterator[Met]:  # pyright: ignore[reportUnusedFunction]
        async for left, right in stream:
            assert left is not None
            assert right is not None
            yield Met(left.n, number_in(await features.get(right)), left.user)

    @made.app.batch_agent(source_of(made, "inner"), to=made.out)
    def all_of_them(batch: Batch[Pair]) -> Sequence[Met]:  # pyright: ignore[reportUnusedFunction]
        rows = features.get_many([right for _, right in batch if right is not None])
        return [Met(left and left.n, number_in(row), "many") for (left, _), row in zip(batch, rows, strict=True)]

    with Harness(made.app, features={"users": lambda event: {"x": event["n"]}}) as harness:
        harness.send(made.left, Event(1))
        harness.send(made.right, Event(2), Event(3))
        assert [record.value for record in harness.read(made.out)] == [
            *(Met(1, n, "u") for n in (2, 3)),
            *(Met(1, n, "many") for n in (2, 3)),
        ]
