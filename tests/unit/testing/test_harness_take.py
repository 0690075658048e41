"""Lists of events, filtered streams and several output topics: one outcome per event, whatever fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import msgspec
import pytest

from streamserve import App, Batch, Binary, Record, Reject, Stream, Topic, gather
from streamserve.dataflow.planning.nodes import Ordering
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

FAULTS: tuple[Fault | None, ...] = (None, "crash", "abort", "fence", "rebalance")
EVENTS = 20


class Event(msgspec.Struct, frozen=True):
    n: int
    user: str = "u"


class Sum(msgspec.Struct, frozen=True):
    numbers: list[int]


def new_app(name: str = "taking") -> tuple[App, Topic[Event, str], Topic[Sum, str]]:
    app = App(name)
    return app, app.topic("events", Event, key="user"), app.topic("sums", Sum, key=lambda _: "all")


def events(count: int = EVENTS) -> list[Event]:
    return [Event(n, f"user-{n % 7}") for n in range(count)]


def taken(harness: Harness, sums: Topic[Sum, str]) -> list[list[int]]:
    return [record.value.numbers for record in harness.read(sums)]


@pytest.mark.parametrize("io", [False, True])
@pytest.mark.parametrize("fault", FAULTS)
def test_lists_hold_events_of_any_key_in_order_up_to_their_size(fault: Fault | None, *, io: bool) -> None:
    app, source, sums = new_app()

    @app.agent(source, to=sums, io=io)
    async def add(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(8):
            yield Sum([event.n for event in batch])

    with Harness(app, partitions=1) as harness:
        if fault is not None:
            harness.fault(fault)
        harness.send(source, *events())
        lists = taken(harness, sums)
    assert [n for numbers in lists for n in numbers] == list(range(EVENTS))
    assert max(map(len, lists)) == 8
    assert len(lists) == 3


def test_a_list_never_waits_for_events_that_are_not_there() -> None:
    app, source, sums = new_app()

    @app.agent(source, to=sums)
    async def add(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(100):
            yield Sum([event.n for event in batch])

    with Harness(app, partitions=1) as harness:
        harness.send(source, Event(1))
        harness.send(source, Event(2), Event(3))
        assert taken(harness, sums) == [[1], [2, 3]]


def test_lists_of_an_unordered_agent_run_across_partitions() -> None:
    app, source, sums = new_app()

    @app.agent(source, to=sums, ordering="unordered")
    async def add(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(50):
            yield Sum([event.n for event in batch])

    with Harness(app, partitions=4) as harness:
        harness.send(source, *events())
        [numbers] = taken(harness, sums)
    assert sorted(numbers) == list(range(EVENTS))


@pytest.mark.parametrize("io", [False, True])
def test_only_the_event_at_fault_of_a_list_is_dead_lettered(*, io: bool) -> None:
    app, source, sums = new_app()
    side = app.topic("side", Event, key="user")

    @app.agent(source, to=sums, io=io)
    async def add(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(8):
            for event in batch:
                await side.send(event)
                if event.n == 5:
                    raise ValueError("five")
            yield Sum([event.n for event in batch])

    with Harness(app, partitions=1) as harness:
        harness.send(source, *events())
        numbers = [n for numbers in taken(harness, sums) for n in numbers]
        assert numbers == [n for n in range(EVENTS) if n != 5]
        assert [record.value.n for record in harness.read(side)] == numbers
        assert [dead.source.offset for dead in harness.dead_letters()] == [5]


@pytest.mark.parametrize("io", [False, True])
def test_what_a_list_that_failed_did_to_tables_is_undone(*, io: bool) -> None:
    app, source, sums = new_app()
    seen = app.table("seen", int, default=int)

    @app.agent(source, to=sums, io=io)
    async def count(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(8):
            for event in batch:
                seen.update(event.user, lambda before: before + 1)
                if event.n == 5:
                    raise Reject("five")
            yield Sum([event.n for event in batch])

    with Harness(app, partitions=1) as harness:
        harness.send(source, *events())
        assert [n for numbers in taken(harness, sums) for n in numbers] == [n for n in range(EVENTS) if n != 5]
        assert harness.table(seen) == {f"user-{k}": len([n for n in range(k, EVENTS, 7) if n != 5]) for k in range(7)}
        assert [dead.source.offset for dead in harness.dead_letters()] == [5]


def test_records_come_in_lists_too_and_a_key_that_is_no_text_is_one_dead_letter() -> None:
    app, source, sums = new_app()

    @app.agent(source, to=sums)
    async def add(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take_records(8):
            records: Sequence[Record[Event, str]] = batch
            yield Sum([record.offset for record in records])

    with Harness(app, partitions=1) as harness:
        harness.send(source, *events(3))
        harness.send_bytes(source, b'{"n": 3}', key=b"\xff\xfe")
        assert [n for numbers in taken(harness, sums) for n in numbers] == [0, 1, 2]
        assert len(harness.dead_letters()) == 1


def test_an_output_that_does_not_fit_is_a_dead_letter_of_every_event_of_its_list() -> None:
    app, source, sums = new_app()

    @app.agent(source, to=sums)
    async def add(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(4):
            numbers: list[Any] = [event.n if event.n != 5 else object() for event in batch]
            yield Sum(numbers)

    with Harness(app, partitions=1) as harness:
        harness.send(source, *events(8))
        assert taken(harness, sums) == [[0, 1, 2, 3]]
        assert [dead.source.offset for dead in harness.dead_letters()] == [4, 5, 6, 7]


@pytest.mark.parametrize("io", [False, True])
@pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
def test_an_output_that_the_broker_finds_too_large_is_a_dead_letter_of_every_event_of_its_list(
    ordering: Ordering, *, io: bool
) -> None:
    app, source, sums = new_app()

    @app.agent(source, to=sums, io=io, ordering=ordering)
    async def add(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(3):
            numbers = [event.n for event in batch]
            yield Sum(numbers * 400_000 if 4 in numbers else numbers)

    with Harness(app, partitions=1) as harness:
        harness.send(source, *events(9))
        assert taken(harness, sums) == [[0, 1, 2], [6, 7, 8]]
        assert [(dead.source.offset, dead.reason) for dead in harness.dead_letters()] == [
            (n, "oversize") for n in (3, 4, 5)
        ]


def test_a_list_whose_output_the_broker_finds_too_large_leaves_nothing_in_tables() -> None:
    app, source, sums = new_app()
    seen = app.table("seen", int, default=int)

    @app.agent(source, to=sums)
    async def count(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(3):
            for event in batch:
                seen.update(event.user, lambda before: before + 1)
            numbers = [event.n for event in batch]
            yield Sum(numbers * 400_000 if 4 in numbers else numbers)

    with Harness(app, partitions=1) as harness:
        harness.send(source, *events(9))
        assert taken(harness, sums) == [[0, 1, 2], [6, 7, 8]]
        assert [dead.source.offset for dead in harness.dead_letters()] == [3, 4, 5]
        assert harness.table(seen) == {"user-0": 2, "user-1": 2, "user-2": 1, "user-6": 1}


@pytest.mark.parametrize("io", [False, True])
def test_each_event_of_a_list_has_its_own_features_and_is_logged_and_counted_once(*, io: bool) -> None:
    app, source, sums = new_app()
    features = app.features("size_v1", event=Event, log=1.0)
    model = app.model("big", inputs=[Event, features], output=Binary)
    app.monitor(model, detectors=[], window="1m", columns=["size"])

    @app.agent(source, to=sums, io=io)
    async def judge(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(8):
            rows = await gather(*(features.get(event) for event in batch))
            answers = await gather(*(model.predict(event, row) for event, row in zip(batch, rows, strict=True)))
            if any(event.n == 5 for event in batch):
                raise Reject("five")
            yield Sum([event.n for event, answer in zip(batch, answers, strict=True) if answer.output.label])

    def size(event: Mapping[str, Any]) -> Mapping[str, float]:
        return {"size": float(event["n"])}

    def is_big(row: Mapping[str, Any]) -> Binary:
        return Binary(label=row["size"] == row["n"], probability=0.5)

    with Harness(app, partitions=1, features={"size_v1": size}, models={"big": is_big}) as harness:
        harness.send(source, *events(16))
        harness.advance("2m")
        harness.send(source, Event(16))
        logged = [msgspec.json.decode(message.value() or b"") for message in harness.read_bytes("taking-features")]
        drift = [msgspec.json.decode(message.value() or b"") for message in harness.read_bytes("taking-drift")]
        assert [n for numbers in taken(harness, sums) for n in numbers] == [n for n in range(17) if n != 5]
    assert [(row["source_offset"], row["features"]["size"]) for row in logged] == [
        (n, float(n)) for n in range(17) if n != 5
    ]
    assert {message["count"] for message in drift} == {15}


def test_what_a_list_that_failed_still_asked_for_is_not_logged() -> None:
    app, source, sums = new_app()
    features = app.features("size_v1", event=Event, log=1.0)

    async def judge(batch: Sequence[Event]) -> None:
        if any(event.n == 2 for event in batch):
            raise ValueError("two")

    async def size(event: Event) -> None:
        await asyncio.sleep(0)
        await features.get(event)

    @app.agent(source, to=sums, io=True)
    async def add(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.take(4):
            await asyncio.gather(*map(size, batch), judge(batch))
            yield Sum([event.n for event in batch])

    with Harness(app, partitions=1, features={"size_v1": lambda event: {"size": event["n"]}}) as harness:
        harness.send(source, *events(8))
        logged = [msgspec.json.decode(message.value() or b"") for message in harness.read_bytes("taking-features")]
        assert [n for numbers in taken(harness, sums) for n in numbers] == [0, 1, 3, 4, 5, 6, 7]
    assert [row["source_offset"] for row in logged] == [0, 1, 3, 4, 5, 6, 7]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_filter_lets_events_pass_without_an_output(fault: Fault | None) -> None:
    app, source, sums = new_app()

    @app.agent(source, to=sums)
    async def even(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream.filter(lambda event: event.n % 2 == 0):
            yield Sum([event.n])

    @app.agent(source, to=sums, name="thirds")
    async def thirds(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.filter(lambda event: 3 // (event.n - 7) == 3).records():
            yield Sum([-record.value.n])

    with Harness(app, partitions=1) as harness:
        if fault is not None:
            harness.fault(fault)
        harness.send(source, *events(10))
        assert sorted(taken(harness, sums)) == [[-8], [0], [2], [4], [6], [8]]
        assert [dead.source.offset for dead in harness.dead_letters()] == [7]


def test_a_filtered_stream_of_lists_leaves_out_empty_ones_and_works_with_tables() -> None:
    app, source, sums = new_app()
    seen = app.table("seen", int, default=int)

    @app.agent(source, to=sums)
    async def few(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        async for batch in stream.filter(lambda event: event.n >= 6).take(4):
            for event in batch:
                seen.update(event.user, lambda before: before + 1)
            yield Sum([event.n for event in batch])

    with Harness(app, partitions=1) as harness:
        harness.send(source, *events(9))
        assert taken(harness, sums) == [[6, 7], [8]]
        assert harness.table(seen) == {"user-6": 1, "user-0": 1, "user-1": 1}


@pytest.mark.parametrize("level", ["agent", "batch"])
def test_outputs_go_to_every_topic_or_to_none(level: str) -> None:
    app, source, sums = new_app()
    copies = app.topic("copies", Sum, key=lambda made: str(1 // (made.numbers[0] - 3)))

    async def one(stream: Stream[Event]) -> AsyncIterator[Sum]:
        async for event in stream:
            yield Sum([event.n])

    def many(batch: Batch[Event]) -> list[Sum | Reject | None]:
        return [Sum([event.n]) for event in batch]

    if level == "agent":
        app.agent(source, to=[sums, copies])(one)
    else:
        app.batch_agent(source, to=[sums, copies])(many)
    with Harness(app, partitions=1) as harness:
        harness.send(source, *events(6))
        assert taken(harness, sums) == taken(harness, copies) == [[0], [1], [2], [4], [5]]
        assert [dead.source.offset for dead in harness.dead_letters()] == [3]


def test_lists_of_io_agents_are_written_side_by_side() -> None:
    app, source, sums = new_app()
    running, most = 0, 0

    @app.agent(source, to=sums, io=True, ordering="unordered")
    async def write(stream: Stream[Event]) -> AsyncIterator[Sum]:  # pyright: ignore[reportUnusedFunction]
        nonlocal running, most
        async for batch in stream.take(5):
            running += 1
            most = max(most, running)
            await asyncio.sleep(0.01)
            running -= 1
            yield Sum([event.n for event in batch])

    with Harness(app, partitions=1) as harness:
        harness.send(source, *events())
        assert taken(harness, sums) == [list(range(start, start + 5)) for start in (0, 5, 10, 15)]
    assert most == 4
