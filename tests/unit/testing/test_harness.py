"""Apps of all kinds run on the harness, and come to what a ``read_committed`` reader would see."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module of bytewax itself
import msgspec
import pytest
from bytewax.dataflow import Stream as BytewaxStream

from streamserve import App, Batch, Binary, Record, Regression, Reject, Stream, testing
from streamserve.aggregates import count
from streamserve.errors import ConfigurationError, EncodeError, PlanError
from streamserve.records import Coordinates
from streamserve.state.windows import tumbling
from streamserve.testing import Harness

START = datetime(2024, 1, 1, tzinfo=UTC)


class Event(msgspec.Struct, frozen=True):
    n: int
    user: str = "u"
    at: datetime = START


class Result(msgspec.Struct, frozen=True):
    n: int
    text: str = ""


class Scored(msgspec.Struct, frozen=True):
    n: int
    probability: float
    label: bool
    model: str
    version: str


def result_key(result: Result) -> str:
    return str(result.n)


def test_an_agent_writes_and_rejects_and_what_it_rejects_leaves_nothing_else() -> None:
    app = App("agents")
    events = app.topic("events", Event, key="user")
    results = app.topic("results", Result, key=result_key)
    copies = app.topic("copies", Event, key="user")

    @app.agent(events, to=results)
    async def answer(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            await copies.send(event)
            yield Result(event.n, "first")
            if event.n == 2:
                raise Reject("no twos")

    with Harness(app) as harness:
        harness.send(events, Event(1), Event(2), Event(3))
        assert [record.value.n for record in harness.read(results)] == [1, 3]
        assert [record.value for record in harness.read(copies)] == [Event(1), Event(3)]
        [letter] = harness.dead_letters()
    assert (letter.step, letter.reason, letter.message) == ("answer", "rejected", "no twos")
    assert letter.source == Coordinates("events", 0, 1)
    assert (letter.key, letter.value) == (b"u", msgspec.json.encode(Event(2)))


def test_records_have_their_key_time_headers_and_place() -> None:
    app = App("records")
    events = app.topic("events", Event, key="user")
    results = app.topic("results", Result, key=result_key)

    @app.agent(events, to=results)
    async def show(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for record in stream.records():
            yield Result(record.value.n, f"{record.key} {record.timestamp:%H:%M} {dict(record.headers)}")

    with Harness(app, now=START) as harness:
        harness.send(events, Event(1))
        harness.send(events, Event(2), key="k", timestamp=START + timedelta(hours=2), headers={"h": b"v"})
        texts = [record.value.text for record in harness.read(results)]
        second = harness.read(events)[1]
        assert [record.timestamp for record in harness.read(results)] == [START, START]
    assert texts == ["u 00:00 {}", "k 02:00 {'h': b'v'}"]
    assert (second.offset, second.key, second.headers) == (1, "k", [("h", b"v")])


def test_a_key_decides_the_partition_unless_one_is_named() -> None:
    app = App("partitions")
    events = app.topic("events", Event, key="user")
    results = app.topic("results", Result, key=result_key)

    @app.batch_agent(events, to=results)
    def copy(batch: Batch[Event]) -> Sequence[Result]:
        return [Result(record.value.n, str(record.partition)) for record in batch.records]

    with Harness(app, partitions=4) as harness:
        harness.send(events, *(Event(n, f"user-{n % 7}") for n in range(70)))
        harness.send(events, Event(100, "user-0"), partition=2)
        where = {(record.key, record.partition) for record in harness.read(events)[:70]}
        assert harness.read(events)[70].partition == 2
        assert sorted(record.value.n for record in harness.read(results)) == [*range(70), 100]
    assert len(where) == 7
    assert len({partition for _, partition in where}) > 1


def test_functions_stand_in_for_features_and_models() -> None:
    app = App("functions")
    events = app.topic("events", Event, key="user")
    scored = app.topic("scored", Scored, key="n")
    results = app.topic("results", Result, key=result_key)
    features = app.features("risk_v1", event=Event, entity_row={"customer": "user"})
    model = app.model("risk", inputs=[Event, features], output=Binary)
    app.score(events, features=features, model=model, to=scored)

    @app.agent(events, to=results)
    async def ask(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            row = await features.get(event)
            prediction = await model.predict(event, row, boost=0.5)
            yield Result(event.n, f"{row['risk']} {row.status['risk']} {prediction.output.probability}")

    def risk(row: object) -> Binary:
        given = msgspec.convert(row, dict[str, object])
        if given["n"] == 9:
            raise ValueError
        probability = float(str(given["risk"] or 0)) + float(str(given.get("boost", 0)))
        return Binary(probability > 0.5, probability)

    rows = {"a": {"risk": 0.25}, "b": {"risk": None}}
    with Harness(
        app, features={"risk_v1": lambda event: rows.get(str(event["customer"]))}, models={"risk": risk}
    ) as harness:
        harness.send(events, Event(1, "a"), Event(2, "b"), Event(3, "c"), Event(9, "a"))
        assert [record.value for record in harness.read(scored)] == [
            Scored(1, 0.25, label=False, model="risk", version="function"),
            Scored(2, 0.0, label=False, model="risk", version="function"),
            Scored(3, 0.0, label=False, model="risk", version="function"),
        ]
        texts = [record.value.text for record in harness.read(results)]
        assert [(letter.step, letter.reason) for letter in harness.dead_letters()] == [
            ("score_risk", "model"),
            ("ask", "model"),
        ]
    assert texts == ["0.25 present 0.75", "None null 0.5", "None not-found 0.5"]


def test_a_feature_function_that_raises_costs_only_its_event() -> None:
    app = App("faulty")
    events = app.topic("events", Event, key="user")
    results = app.topic("results", Result, key=result_key)
    features = app.features("size_v1", event=Event)

    @app.agent(events, to=results)
    async def ask(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            row = await features.get(event)
            yield Result(event.n, str(row["size"]))

    with Harness(app, features={"size_v1": lambda event: {"size": 10 // int(str(event["n"]))}}) as harness:
        harness.send(events, Event(5), Event(0), Event(2))
        assert [record.value.text for record in harness.read(results)] == ["2", "5"]
        [letter] = harness.dead_letters()
    assert (letter.reason, letter.error, letter.source.offset) == ("features", "ZeroDivisionError", 1)


def test_a_stand_in_for_what_the_app_does_not_declare_is_refused() -> None:
    app = App("undeclared")
    app.model("risk", output=Regression)
    with pytest.raises(PlanError, match=r"no models risky; there are \['risk'\]"):
        Harness(app, models={"risky": lambda _: Regression(0.0)})


def test_timers_run_when_the_clock_passes_them_each_at_its_time() -> None:
    app = App("timers")
    ticks = app.topic("ticks", Result, key=result_key)
    events = app.topic("events", Event, key="user")

    @app.agent(events, to=ticks)
    async def copy(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n)

    @app.timer("20m", to=ticks)
    async def tick() -> AsyncIterator[Result]:
        yield Result(-1)

    with Harness(app, now=START + timedelta(minutes=5), partitions=2) as harness:
        harness.advance("14m")
        assert harness.read(ticks) == []
        harness.advance("1h")
        times = [record.timestamp for record in harness.read(ticks)]
        assert harness.now == START + timedelta(minutes=79)
    assert times == [START + timedelta(minutes=minutes) for minutes in (20, 20, 40, 40, 60, 60)]


def test_topics_read_together_come_in_the_order_of_event_time() -> None:
    app = App("merged")
    left, right = (app.topic(name, Event, key="user", event_time="at") for name in ("left", "right"))
    results = app.topic("results", Result, key=result_key)

    @app.agent(left, right, to=results)
    async def merge(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n)

    with Harness(app) as harness:
        with harness.together():
            harness.send(left, *(Event(n, at=START + timedelta(seconds=n)) for n in range(0, 20, 2)))
            harness.send(right, *(Event(n, at=START + timedelta(seconds=n)) for n in range(1, 20, 2)))
        assert [record.value.n for record in harness.read(results)] == list(range(20))


def test_records_wait_for_their_turn_until_the_watermark_or_silence_lets_them_go() -> None:
    app = App("sorted")
    events = app.topic("events", Event, key="user", event_time="at", max_out_of_orderness="10s")
    results = app.topic("results", Result, key=result_key)
    app.aggregate("seen", events, count(), window=tumbling("1m"))

    @app.agent(events, to=results)
    async def copy(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n)

    with Harness(app) as harness:
        harness.send(events, *(Event(n, at=START + timedelta(seconds=n)) for n in (0, 8, 3)))
        assert harness.read(results) == []
        harness.send(events, Event(15, at=START + timedelta(seconds=15)))
        assert [record.value.n for record in harness.read(results)] == [0, 3]
        harness.advance("9s")
        assert len(harness.read(results)) == 2
        harness.advance("1s")
        assert [record.value.n for record in harness.read(results)] == [0, 3, 8, 15]


def test_what_does_not_decode_is_a_dead_letter_and_what_does_not_encode_is_not_sent() -> None:
    app = App("bytes")
    events = app.topic("events", Event, key="user")

    @app.agent(events)
    async def ignore(stream: Stream[Event]) -> None:
        async for _ in stream:
            pass

    with Harness(app) as harness:
        with pytest.raises(EncodeError):
            harness.send(events, Event(1, user="\ud800"))
        assert harness.read(events) == []
        harness.send_bytes(events, b"no event", None, key=b"k")
        letters = harness.dead_letters()
    assert [(letter.reason, letter.key, letter.value) for letter in letters] == [
        ("decode", b"k", b"no event"),
        ("decode", b"k", None),
    ]


def test_what_ends_the_worker_is_raised_where_the_record_was_sent() -> None:
    app = App("stops")
    events = app.topic("events", Event, key="user")
    results = app.topic("results", Result, key=result_key)

    @app.batch_agent(events, to=results, on_error="stop")
    def stop(batch: Batch[Event]) -> Sequence[Result]:
        raise ValueError(str(len(batch)))

    with Harness(app) as harness:
        with pytest.raises(ConfigurationError, match=r"events\[0\]@0"):
            harness.send(events, Event(1))
        with pytest.raises(ConfigurationError, match="stop"):
            harness.send(events, Event(2))
        assert harness.read(results) == []


def test_lifespans_surround_the_run() -> None:
    app = App("lifespan")
    events = app.topic("events", Event, key="user")
    seen: list[str] = []

    @app.lifespan
    async def resources() -> AsyncIterator[None]:
        seen.append("open")
        yield
        seen.append("closed")

    @app.agent(events, io=True)
    async def note(stream: Stream[Event]) -> None:
        async for event in stream:
            await asyncio.sleep(0)
            seen.append(str(event.n))

    with Harness(app) as harness:
        harness.send(events, Event(1))
    assert seen == ["open", "1", "closed"]


def test_what_the_broker_would_refuse_as_too_large_is_a_dead_letter() -> None:
    app = App("oversize")
    events = app.topic("events", Event, key="user")
    results = app.topic("results", Result, key=result_key)

    @app.agent(events, to=results)
    async def swell(stream: Stream[Event]) -> AsyncIterator[Result]:
        async for event in stream:
            yield Result(event.n, "x" * (2_000_000 if event.n == 2 else 2))

    with Harness(app) as harness:
        harness.send(events, Event(1), Event(2), Event(3))
        assert [record.value.n for record in harness.read(results)] == [1, 3]
        assert [(letter.reason, letter.source.offset) for letter in harness.dead_letters()] == [("oversize", 1)]


def test_raw_operators_set_aside_just_the_record_that_fails() -> None:
    app = App("operators")
    events = app.topic("events", Event, key="user")
    results = app.topic("results", Result, key=result_key)

    @app.dataflow(events, to=results)
    def invert(records: BytewaxStream[Record[Event, str]]) -> BytewaxStream[Result]:
        return op.map("invert", records, lambda record: Result(12 // record.value.n))

    with Harness(app) as harness:
        harness.send(events, Event(1), Event(0), Event(3))
        assert [record.value.n for record in harness.read(results)] == [12, 4]
        [letter] = harness.dead_letters()
    assert (letter.step, letter.source.offset) == ("invert", 1)


def test_a_harness_runs_only_inside_its_block() -> None:
    app = App("closed")
    events = app.topic("events", Event, key="user")

    @app.agent(events)
    async def ignore(stream: Stream[Event]) -> None:
        async for _ in stream:
            pass

    harness = Harness(app)
    with pytest.raises(RuntimeError, match="inside"):
        harness.send(events, Event(1))
    with harness:
        harness.send(events, Event(2))
    with pytest.raises(RuntimeError, match="inside"):
        harness.send(events, Event(3))
    assert len(harness.read(events)) == 3


def test_a_monitor_watches_what_functions_give() -> None:
    app = App("watched")
    events = app.topic("events", Event, key="user", event_time="at")
    results = app.topic("results", Result, key=result_key)
    features = app.features("size_v1", event=Event)
    features.push_from(events, push_source="sizes")
    model = app.model("model", inputs=[features], output=Regression)
    app.score(events, features=features, model=model, to=results, output=lambda event, _: Result(event.n))
    app.monitor(model, detectors=[], window="1m", columns=["size", "value"])

    with Harness(
        app, features={"size_v1": lambda _: {"size": 2.0}}, models={"model": lambda row: {"value": row["size"]}}
    ) as harness:
        harness.send(events, *(Event(n, at=START + timedelta(seconds=20 * n)) for n in range(4)))
        drift = [msgspec.json.decode(message.value() or b"") for message in harness.read_bytes("watched-drift")]
    assert {(message["column"], message["count"], message["mean"]) for message in drift} == {
        ("size", 3, 2.0),
        ("value", 3, 2.0),
    }


def test_a_transaction_that_will_write_state_has_its_partition_registered_as_it_begins() -> None:
    app = App("watched")
    events = app.topic("events", Event, key="user", event_time="at")
    results = app.topic("results", Result, key=result_key)
    model = app.model("model", inputs=[Event], output=Regression)
    app.score(events, model=model, to=results, output=lambda event, _: Result(event.n))
    app.monitor(model, detectors=[], window="1m", columns=["value"])

    with Harness(app, models={"model": lambda _: {"value": 2.0}}) as harness:
        for n in range(2):
            harness.send(events, Event(n, at=START))
        messages = harness.read_bytes("watched-state-changelog")
    registers, state = (b"(registers)", True), (b"events", False)
    assert [(message.key(), message.value() == b"") for message in messages] == [registers, state, registers, state]


def test_the_checker_is_imported_without_the_engine() -> None:
    program = "import sys, streamserve.testing.checks; sys.exit('streamserve.dataflow.running.worker' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
    with pytest.raises(AttributeError, match="no attribute 'Harnesses'"):
        testing.__getattr__("Harnesses")
