"""What apps of all kinds do on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module of bytewax itself
import msgspec
import pytest
from bytewax.dataflow import Stream as BytewaxStream

from streamserve import App, Batch, Record, Reject, Stream
from streamserve.errors import ConfigurationError
from streamserve.testing.checks import read_topic
from tests.integration.running import (
    Input,
    Running,
    create_topics,
    dead_letters,
    offsets,
    process,
    replay,
    send,
    values,
)
from tests.integration.waiting import wait_until

pytestmark = pytest.mark.broker

START_MS = 1_700_000_000_000


class Event(msgspec.Struct, frozen=True):
    n: int
    user: str = "u"
    at: datetime | None = None


class Result(msgspec.Struct, frozen=True):
    n: int
    text: str = ""


class Other(msgspec.Struct, frozen=True):
    n: int
    at: datetime


def test_an_agent_of_each_kind_reads_one_topic_in_one_app(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user")
    singles = app.topic(f"{topic_name}.singles", Result, key=lambda result: str(result.n))
    batches = app.topic(f"{topic_name}.batches", Result, key=lambda result: str(result.n))
    sent = app.topic(f"{topic_name}.sent", Result, key=lambda result: str(result.n))

    @app.agent(events, to=singles)
    async def single(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            for part in range(event.n % 3):
                yield Result(event.n, f"part {part}")

    @app.batch_agent(events, to=batches, max_size=7)
    def batch(batch: Batch[Event]) -> Sequence[Result | Reject | None]:
        texts = [f"{record.partition}/{record.offset}" for record in batch.records]
        results: list[Result | Reject | None] = [Result(e.n, text) for e, text in zip(batch, texts, strict=True)]
        return [
            Reject("a five") if event.n % 10 == 5 else None if event.n % 2 else result
            for event, result in zip(batch, results, strict=True)
        ]

    @app.agent(events, name="sender")
    async def write(stream: Stream[Event]) -> None:
        async for record in stream.records():
            headers = {"seen": f"{record.key}@{record.offset}".encode()}
            await sent.send(Result(record.value.n), key="mine", headers=headers, timestamp=record.timestamp)
            if record.value.n == 4:
                raise ValueError("nothing of this event is written")

    create_topics(app, brokers)
    send(
        brokers,
        events.name,
        [Input({"n": n, "user": f"u{n % 5}"}, f"u{n % 5}".encode(), START_MS + n) for n in range(50)],
    )
    process(app, brokers, 50)
    assert [value["n"] for value in values(brokers, singles.name)] == [n for n in range(50) for _ in range(n % 3)]
    assert values(brokers, batches.name) == [{"n": n, "text": f"0/{n}"} for n in range(0, 50, 2)]
    written = read_topic(brokers, sent.name)
    assert [record.headers for record in written] == [[("seen", f"u{n % 5}@{n}".encode())] for n in range(50) if n != 4]
    assert {record.key for record in written} == {b"mine"}
    assert [record.timestamp_ms - START_MS for record in written] == [n for n in range(50) if n != 4]
    letters = dead_letters(brokers, app)
    assert sorted((letter.offset, *letter.why) for letter in letters) == [
        (4, "sender", "agent", "ValueError"),
        *((n, "batch", "rejected", "Reject") for n in range(5, 50, 10)),
    ]


def test_an_agent_chained_behind_another_reads_what_it_wrote(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user")
    middle = app.topic(f"{topic_name}.middle", Result, key=lambda result: str(result.n))
    last = app.topic(f"{topic_name}.last", Result, key=lambda result: str(result.n))

    @app.agent(events, to=middle)
    async def first(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n)

    @app.agent(middle, to=last)
    async def second(stream: Stream[Result]) -> AsyncIterator[Result]:
        async for result in stream:
            yield Result(result.n * 10)

    create_topics(app, brokers)
    send(brokers, events.name, [{"n": n} for n in range(30)])
    process(app, brokers, 60)
    assert [value["n"] for value in values(brokers, last.name)] == [n * 10 for n in range(30)]


def test_sources_of_one_agent_are_merged_by_event_time(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    start = datetime.fromtimestamp(START_MS / 1000, UTC)
    left = app.topic(f"{topic_name}.left", Event, key="user", event_time="at")
    right = app.topic(f"{topic_name}.right", Other, key=lambda other: str(other.n), event_time="at")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    @app.agent(left, right, to=out, ordering="partition")
    async def merge(stream: Stream[Event | Other]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n, type(event).__name__)

    create_topics(app, brokers, partitions=2)
    for topic, parity in ((left, 0), (right, 1)):
        send(
            brokers,
            topic.name,
            [
                Input({"n": n, "at": (start + timedelta(seconds=n)).isoformat()}, partition=n // 2 % 2)
                for n in range(parity, 400, 2)
            ],
        )
    process(app, brokers, 400)
    made = {value["n"]: value["text"] for value in values(brokers, out.name)}
    assert made == {n: "Other" if n % 2 else "Event" for n in range(400)}
    records = read_topic(brokers, out.name)
    for partition in range(2):
        seen = [int(record.key or b"") for record in records if record.partition == partition]
        for source in range(2):
            of_group = [n for n in seen if n // 2 % 2 == source]
            assert of_group == sorted(of_group)


def test_agents_with_io_use_asyncio_and_keep_the_order_of_outputs(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))
    client: dict[str, asyncio.Lock] = {}

    @app.lifespan
    async def resources() -> AsyncIterator[None]:
        client["lock"] = asyncio.Lock()
        yield
        client.clear()

    async def call(n: int) -> int:
        await asyncio.sleep((n * 7 % 5) / 500)
        async with client["lock"]:
            return n * 2

    @app.agent(events, to=out, io=True, ordering="unordered")
    async def ask(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            async with asyncio.timeout(0.02 if event.n == 13 else 30):
                if event.n == 13:
                    await asyncio.sleep(30)
                doubled, again = await asyncio.gather(call(event.n), call(event.n))
                yield Result(doubled, str(again))

    replay(app, brokers, events.name, [{"n": n} for n in range(100)])
    assert [value["n"] for value in values(brokers, out.name)] == [n * 2 for n in range(100) if n != 13]
    assert [(letter.offset, *letter.why) for letter in dead_letters(brokers, app)] == [
        (13, "ask", "agent", "TimeoutError")
    ]
    assert client == {}


def test_a_foreign_await_without_io_stops_the_worker_and_says_how_to_mend_it(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user")

    @app.agent(events)
    async def sleep(stream: Stream[Event]) -> None:
        async for _ in stream:
            await asyncio.sleep(0.1)

    create_topics(app, brokers)
    send(brokers, events.name, [{"n": 1}])
    with pytest.raises(ConfigurationError, match="io=True"):
        process(app, brokers, 1)
    assert dead_letters(brokers, app) == []


def test_a_timer_writes_once_for_each_owned_partition(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))
    ticks = app.topic(f"{topic_name}.ticks", Result, key=lambda result: str(result.n))
    sent = app.topic(f"{topic_name}.sent", Result, key=lambda result: str(result.n))

    @app.agent(events, to=out)
    async def copy(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n)

    @app.timer("200ms", to=ticks)
    async def tick() -> AsyncIterator[Result]:
        await asyncio.sleep(0)
        await sent.send(Result(8))
        yield Result(7)

    create_topics(app, brokers, partitions=2)
    send(brokers, events.name, [Input({"n": n}, partition=n % 2) for n in range(10)])
    with Running(app, brokers) as running:
        running.until_committed(10)
        before = len(values(brokers, ticks.name))
        wait_until(lambda: len(values(brokers, ticks.name)) - before >= 4, "two ticks of both partitions")
    ticked, also = values(brokers, ticks.name), values(brokers, sent.name)
    assert len(ticked) == len(also)
    assert (len(ticked) - before) % 2 == 0
    assert {value["n"] for value in ticked} == {7}


def test_raw_operators_set_aside_just_the_record_that_fails(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    @app.dataflow(events, to=out)
    def flow(records: BytewaxStream[Record[Event]]) -> BytewaxStream[Result]:
        halves = op.map("halve", records, lambda record: (record.value.n, 60 // (record.value.n - 20)))
        even = op.filter("even", halves, lambda pair: pair[0] % 2 == 0)
        return op.map("result", even, lambda pair: Result(pair[0], str(pair[1])))

    create_topics(app, brokers, partitions=2)
    send(brokers, events.name, [Input({"n": n}, partition=n % 2) for n in range(60)])
    recorder = process(app, brokers, 60)
    assert sorted(value["n"] for value in values(brokers, out.name)) == [n for n in range(0, 60, 2) if n != 20]
    [letter] = dead_letters(brokers, app)
    assert (letter.record.value, *letter.why) == (b'{"n": 20}', "flow", "agent", "AgentError")
    assert len(recorder.restarts) == 2


def test_an_output_of_raw_operators_that_does_not_encode_is_one_dead_letter(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    @app.dataflow(events, to=out)
    def flow(records: BytewaxStream[Record[Event]]) -> BytewaxStream[Result]:
        wrong: object = "no result"
        return op.map("result", records, lambda record: wrong if record.value.n == 3 else Result(record.value.n))  # type: ignore[return-value]

    replay(app, brokers, events.name, [{"n": n} for n in range(10)])
    assert [value["n"] for value in values(brokers, out.name)] == [n for n in range(10) if n != 3]
    [letter] = dead_letters(brokers, app)
    assert (letter.offset, *letter.why) == (3, "flow", "encode", "EncodeError")


def test_skip_drops_and_counts_what_fails(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user", on_error="skip")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    @app.agent(events, to=out, on_error="skip")
    async def copy(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n)
            if event.n == 2:
                raise Reject("two")

    recorder = replay(app, brokers, events.name, [{"n": 1}, {"n": 2}, {"n": "three"}, {"n": 4}])
    assert [value["n"] for value in values(brokers, out.name)] == [1, 4]
    assert dead_letters(brokers, app) == []
    assert recorder.skips == {("copy", "rejected"): 1, (f"decode:{events.name}", "decode"): 1}


def test_stop_ends_the_worker_with_nothing_of_the_record_visible(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    events = app.topic(f"{topic_name}.in", Event, key="user")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    @app.agent(events, to=out, on_error="stop")
    async def copy(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n)
            if event.n == 2:
                raise LookupError("secret")

    create_topics(app, brokers)
    send(brokers, events.name, [{"n": n} for n in range(5)])
    with pytest.raises(ConfigurationError, match=rf"'copy' stops at {topic_name}.in\[0\]@2: .*LookupError") as stopped:
        process(app, brokers, 5)
    assert "secret" not in str(stopped.value)
    assert not {2, 3, 4} & {value["n"] for value in values(brokers, out.name)}
    assert offsets(dead_letters(brokers, app)) == []
