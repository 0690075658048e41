"""Bad input never stops an app, and what has to be mended says so: one dead letter, or one clear error."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from itertools import count
from pathlib import Path
from typing import Annotated

import bytewax.operators as op  # pyright: ignore[reportMissingTypeStubs] - a module of bytewax itself
import msgspec
import pytest
from bytewax.dataflow import Stream as BytewaxStream
from pydantic import BaseModel, Field

from streamserve import App, Batch, Record, Regression, Reject, Stream
from streamserve.errors import BrokerUnavailable, ConfigurationError, OutageError, PackageError, PlanError, TopicError
from streamserve.inference.registry import Registry
from tests.canaries import PERSON
from tests.integration.conftest import MakeTopics
from tests.integration.running import (
    DeadLetter,
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
from tests.unit.features.feast_repo import build
from tests.unit.inference.onnx_models import float_package, unary

pytestmark = pytest.mark.broker

CARD = PERSON
"""Stands in payloads, and must stand nowhere else."""

LARGE = hashlib.shake_128(b"").hexdigest(2_500)
"""Five thousand characters that no compression takes below the two thousand bytes that small topics allow."""


class Order(BaseModel):
    n: int
    amount: Annotated[float, Field(ge=0, le=1000)] = 0.0
    text: str = ""


class Result(msgspec.Struct, frozen=True):
    n: int
    text: str = ""


class Row(msgspec.Struct, frozen=True):
    n: int
    x: float | None


class Scored(msgspec.Struct, frozen=True):
    n: int
    value: float


BAD = {
    3: b'{"n": 3, "text": "4111-1111',
    10: b"",
    17: b'{"n": "4111-1111"}',
    18: b'{"n": 18, "amount": 4111111111111.5, "text": "4111-1111"}',
    19: b'{"amount": 1}',
    20: b"[1, 2]",
    31: b"\xff\xfe4111-1111",
    42: None,
}


@pytest.mark.parametrize("kind", ["agent", "batch", "dataflow"])
def test_what_does_not_decode_is_one_dead_letter_and_the_rest_goes_through(
    brokers: str, topic_name: str, kind: str
) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))
    if kind == "agent":

        @app.agent(orders, to=out)
        async def single(stream: Stream[Order]) -> AsyncIterator[Result]:
            async for order in stream:
                yield Result(order.n)

    elif kind == "batch":

        @app.batch_agent(orders, to=out)
        def batch(orders: Batch[Order]) -> Sequence[Result | Reject | None]:
            return [Result(order.n) for order in orders]

    else:

        @app.dataflow(orders, to=out)
        def flow(records: BytewaxStream[Record[Order]]) -> BytewaxStream[Result]:
            return op.map("result", records, lambda record: Result(record.value.n))

    create_topics(app, brokers)
    good = {n: json.dumps({"n": n, "text": CARD}).encode() for n in range(50)}
    inputs = [Input(BAD.get(n, good[n]), None if n % 2 else b"key", 1000 + n, headers=(("h", b"1"),)) for n in good]
    send(brokers, orders.name, inputs)
    recorder = process(app, brokers, 50)
    assert [value["n"] for value in values(brokers, out.name)] == [n for n in range(50) if n not in BAD]
    letters = dead_letters(brokers, app)
    assert offsets(letters) == sorted(BAD)
    assert recorder.restarts == []
    for letter in letters:
        assert_untouched(letter, inputs[letter.offset], orders.name)


def assert_untouched(letter: DeadLetter, sent: Input, topic: str) -> None:
    """A dead letter has its record's key, bytes and headers, says where it came from, and repeats no payload."""
    assert (letter.record.key, letter.record.value) == (sent.key, sent.value)
    assert letter.headers["source-topic"] == topic
    assert letter.headers["source-partition"] == "0"
    assert letter.headers["source-timestamp"] == str(sent.timestamp_ms)
    assert letter.headers["original-h"] == "1"
    assert letter.why == (f"decode:{topic}", "decode", "DecodeError")
    assert len(letter.headers["message"]) > 10
    assert CARD not in str(letter.headers)


def test_a_null_key_is_no_fault(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    @app.agent(orders, to=out)
    async def keys(stream: Stream[Order]) -> AsyncIterator[Result]:
        async for record in stream.records():
            yield Result(record.value.n, str(record.key))

    replay(app, brokers, orders.name, [Input({"n": n}, None if n % 2 else b"k\xc3\xa9y") for n in range(20)])
    assert values(brokers, out.name) == [{"n": n, "text": "None" if n % 2 else "kéy"} for n in range(20)]


@pytest.mark.parametrize("io", [False, True])
def test_a_key_that_is_no_text_is_one_dead_letter_where_the_agent_reads_records(
    brokers: str, topic_name: str, *, io: bool
) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    @app.agent(orders, to=out, io=io)
    async def keys(stream: Stream[Order]) -> AsyncIterator[Result]:
        async for record in stream.records():
            yield Result(record.value.n)

    @app.dataflow(orders, to=out)
    def flow(records: BytewaxStream[Record[Order]]) -> BytewaxStream[Result]:
        return op.map("result", records, lambda record: Result(record.value.n + 100))

    recorder = replay(app, brokers, orders.name, [Input({"n": n}, b"\xff" if n == 4 else b"k") for n in range(8)])
    good = [n for n in range(8) if n != 4]
    assert sorted(value["n"] for value in values(brokers, out.name)) == [*good, *(n + 100 for n in good)]
    assert sorted((letter.offset, *letter.why) for letter in dead_letters(brokers, app)) == [
        (4, "flow", "decode", "DecodeError"),
        (4, "keys", "decode", "DecodeError"),
    ]
    assert recorder.restarts == []


def test_an_oversize_record_goes_through_or_becomes_a_dead_letter_as_large(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    @app.agent(orders, to=out)
    async def measure(stream: Stream[Order]) -> AsyncIterator[Result]:
        async for order in stream:
            yield Result(order.n, str(len(order.text)))

    large = 3 << 20
    make_topics(orders.name, config={"max.message.bytes": str(2 * large)})
    create_topics(app, brokers)
    broken = b'{"n": "x", "text": "' + b"y" * large
    inputs: list[object] = [{"n": 0}, {"n": 1, "text": "x" * large}, broken, {"n": 3}]
    send(brokers, orders.name, inputs, {"message.max.bytes": 2 * large})
    process(app, brokers, 4)
    assert {value["n"]: value["text"] for value in values(brokers, out.name)} == {0: "0", 1: str(large), 3: "0"}
    [letter] = dead_letters(brokers, app)
    assert letter.record.value == broken


@pytest.mark.parametrize("way", ["yield", "send", "dataflow"])
def test_an_output_that_the_broker_refuses_as_too_large_dead_letters_its_input(
    brokers: str, topic_name: str, make_topics: MakeTopics, way: str
) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))

    def result(n: int) -> Result:
        return Result(n, LARGE if n == 7 else "")

    if way == "yield":

        @app.agent(orders, to=out, name="grow")
        async def _(stream: Stream[Order]) -> AsyncIterator[Result]:
            async for order in stream:
                yield Result(order.n + 100)
                yield result(order.n)

    elif way == "send":

        @app.agent(orders, name="grow")
        async def _(stream: Stream[Order]) -> None:
            async for order in stream:
                await out.send(Result(order.n + 100))
                await out.send(result(order.n))

    else:

        @app.dataflow(orders, to=out, name="grow")
        def _(records: BytewaxStream[Record[Order]]) -> BytewaxStream[Result]:
            return op.flat_map("both", records, lambda r: [Result(r.value.n + 100), result(r.value.n)])

    make_topics(out.name, config={"max.message.bytes": "2000"})
    replay(app, brokers, orders.name, [{"n": n} for n in range(20)])
    good = [n for n in range(20) if n != 7]
    assert sorted(value["n"] for value in values(brokers, out.name)) == [*good, *(n + 100 for n in good)]
    [letter] = dead_letters(brokers, app)
    assert (letter.offset, *letter.why) == (7, "grow", "oversize", "OversizeError")
    assert "max.message.bytes" in letter.headers["message"]


def test_a_dead_letter_topic_that_refuses_a_dead_letter_stops_the_worker(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")

    @app.agent(orders)
    async def refuse(stream: Stream[Order]) -> None:
        async for _ in stream:
            raise Reject("no")

    make_topics(f"{topic_name}-dead-letters", config={"max.message.bytes": "1000"})
    create_topics(app, brokers)
    send(brokers, orders.name, [{"n": 1, "text": LARGE}])
    with pytest.raises(ConfigurationError, match="its dead letter is refused as well"):
        process(app, brokers, 1)


@pytest.mark.parametrize("io", [False, True])
def test_an_agent_that_raises_on_one_event_in_a_thousand_loses_just_those(
    brokers: str, topic_name: str, *, io: bool
) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))
    side = app.topic(f"{topic_name}.side", Result, key=lambda result: str(result.n))

    @app.agent(orders, to=out, io=io)
    async def picky(stream: Stream[Order]) -> AsyncIterator[Result]:
        async for order in stream:
            yield Result(order.n)
            await side.send(Result(order.n))
            if order.n % 1000 == 500:
                raise ValueError(order.text)

    recorder = replay(
        app, brokers, orders.name, [Input({"n": n, "text": CARD}, str(n % 7).encode()) for n in range(5000)]
    )
    good = [n for n in range(5000) if n % 1000 != 500]
    assert [value["n"] for value in values(brokers, out.name)] == good
    assert [value["n"] for value in values(brokers, side.name)] == good
    letters = dead_letters(brokers, app)
    assert offsets(letters) == [500, 1500, 2500, 3500, 4500]
    assert {letter.why for letter in letters} == {("picky", "agent", "ValueError")}
    assert not any(CARD in str(letter.headers) for letter in letters)
    assert recorder.restarts == []


@pytest.mark.parametrize("level", ["score", "built", "batch", "agent"])
def test_a_row_that_the_model_refuses_is_one_dead_letter(
    brokers: str, topic_name: str, tmp_path: Path, level: str
) -> None:
    float_package(tmp_path, unary("Sqrt"), x=4.0, y=2.0)
    Registry(tmp_path).set_alias("model", "champion", "1")
    app = App(topic_name, model_registry=tmp_path)
    rows = app.topic(f"{topic_name}.in", Row, key="n")
    out = app.topic(f"{topic_name}.out", Scored, key="n")
    model = app.model("model", inputs=[Row], output=Regression)
    if level == "score":
        app.score(rows, model=model, to=out, name="root")
    elif level == "built":
        app.score(rows, model=model, to=out, name="root", output=lambda row, y: Scored(row.n, y.output.value))
    elif level == "batch":

        @app.batch_agent(rows, to=out, name="root")
        def _(batch: Batch[Row]) -> Sequence[Scored | Reject | None]:
            return [Scored(row.n, y.output.value) for row, y in zip(batch, model.predict_many(batch), strict=True)]

    else:

        @app.agent(rows, to=out, name="root")
        async def _(stream: Stream[Row]) -> AsyncIterator[Scored]:
            async for row in stream:
                yield Scored(row.n, (await model.predict(row)).output.value)

    create_topics(app, brokers)
    bad = {5: None, 11: -1.0, 12: -9.0, 29: None}
    send(brokers, rows.name, [{"n": n, "x": bad.get(n, n * n)} for n in range(30)])
    process(app, brokers, 30)
    assert values(brokers, out.name) == [{"n": n, "value": float(n)} for n in range(30) if n not in bad]
    letters = dead_letters(brokers, app)
    assert offsets(letters) == sorted(bad)
    assert {letter.why for letter in letters} == {("root", "model", "ModelRowError")}


def test_a_wrong_model_hash_is_named_before_anything_is_processed(
    brokers: str, topic_name: str, tmp_path: Path
) -> None:
    package = float_package(tmp_path, unary("Sqrt"), x=4.0, y=2.0)
    Registry(tmp_path).set_alias("model", "champion", "1")
    (package.path / "model.onnx").write_bytes(package.onnx + b"\0")
    app = App(topic_name, model_registry=tmp_path)
    rows = app.topic(f"{topic_name}.in", Row, key="n")
    app.score(rows, model=app.model("model", output=Regression), to=app.topic(f"{topic_name}.out", Scored, key="n"))
    create_topics(app, brokers)
    with pytest.raises(PackageError, match=r"sha256 is .* and the manifest pins"):
        process(app, brokers, 1)


@pytest.mark.filterwarnings("ignore:On demand feature view is an experimental:RuntimeWarning")
def test_a_feature_view_that_is_missing_is_named(brokers: str, topic_name: str, tmp_path: Path) -> None:
    build(tmp_path / "feature_repo")
    app = App(topic_name, feature_repo=tmp_path / "feature_repo")
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    features = app.features("no_such_service", event=Order)

    @app.agent(orders)
    async def ask(stream: Stream[Order]) -> None:
        async for order in stream:
            await features.get(order)

    create_topics(app, brokers)
    with pytest.raises(PlanError, match="no_such_service"):
        process(app, brokers, 1)


def test_a_broker_that_is_not_there_is_named_after_the_deadline(topic_name: str) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")

    @app.agent(orders)
    async def ignore(stream: Stream[Order]) -> None:
        async for _ in stream:
            pass

    with pytest.raises(BrokerUnavailable, match=r"127\.0\.0\.1:9.*is it running"):
        process(app, "127.0.0.1:9", 1, shutdown_timeout="1s")


def test_a_topic_that_does_not_exist_is_named(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")

    @app.agent(orders)
    async def ignore(stream: Stream[Order]) -> None:
        async for _ in stream:
            pass

    with pytest.raises(TopicError, match=rf"'{topic_name}.in' \(read by ignore\) does not exist.*topics create"):
        process(app, brokers, 1)


def test_topics_that_are_read_together_need_equal_numbers_of_partitions(
    brokers: str, topic_name: str, make_topics: MakeTopics
) -> None:
    app = App(topic_name)
    left = app.topic(f"{topic_name}.left", Order, key="n")
    right = app.topic(f"{topic_name}.right", Order, key="n")

    @app.agent(left, right)
    async def ignore(stream: Stream[Order]) -> None:
        async for _ in stream:
            pass

    make_topics(left.name, partitions=2)
    make_topics(right.name, partitions=3)
    create_topics(app, brokers)
    with pytest.raises(TopicError, match=r"right' .* has 3 partitions, not 2"):
        process(app, brokers, 1)


@pytest.mark.parametrize("io", [False, True])
def test_an_outage_that_an_agent_meets_is_waited_for(brokers: str, topic_name: str, *, io: bool) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    out = app.topic(f"{topic_name}.out", Result, key=lambda result: str(result.n))
    calls: Iterator[int] = count()

    @app.agent(orders, to=out, io=io)
    async def ask(stream: Stream[Order]) -> AsyncIterator[Result]:
        async for order in stream:
            if order.n == 5 and next(calls) < 2:
                raise OutageError("the service is away")
            yield Result(order.n)

    recorder = replay(app, brokers, orders.name, [{"n": n} for n in range(10)])
    assert [value["n"] for value in values(brokers, out.name)] == list(range(10))
    assert dead_letters(brokers, app) == []
    assert recorder.restarts == ["OutageError: the service is away"] * 2


@pytest.mark.parametrize("level", ["agent", "io", "batch", "built"])
def test_a_configuration_error_stops_the_worker_instead_of_dead_lettering(
    brokers: str, topic_name: str, tmp_path: Path, level: str
) -> None:
    float_package(tmp_path)
    Registry(tmp_path).set_alias("model", "champion", "1")
    app = App(topic_name, model_registry=tmp_path)
    rows = app.topic(f"{topic_name}.in", Row, key="n")
    out = app.topic(f"{topic_name}.out", Scored, key="n")

    def fail() -> Scored:
        raise ConfigurationError("no credentials")

    if level == "batch":

        @app.batch_agent(rows, to=out)
        def batch(batch: Batch[Row]) -> Sequence[Scored | Reject | None]:
            return [fail() for _ in batch]

    elif level == "built":
        app.score(rows, model=app.model("model", output=Regression), to=out, output=lambda _, __: fail())
    else:

        @app.agent(rows, to=out, io=level == "io")
        async def single(stream: Stream[Row]) -> AsyncIterator[Scored]:
            async for _ in stream:
                yield fail()

    create_topics(app, brokers)
    send(brokers, rows.name, [{"n": n, "x": 1.0} for n in range(10)])
    with pytest.raises(ConfigurationError, match="no credentials"):
        process(app, brokers, 10)
    assert dead_letters(brokers, app) == []
    assert values(brokers, out.name) == []


def test_a_result_that_its_topic_refuses_is_a_dead_letter_of_its_event(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")
    out = app.topic(f"{topic_name}.out", Order, key="n")

    @app.agent(orders, to=out)
    async def spoil(stream: Stream[Order]) -> AsyncIterator[Order]:
        async for order in stream:
            if order.n == 1:
                order.text = 5  # pyright: ignore[reportAttributeAccessIssue] - the fault under test
            yield order

    replay(app, brokers, orders.name, [{"n": n} for n in range(3)])
    assert [value["n"] for value in values(brokers, out.name)] == [0, 2]
    [letter] = dead_letters(brokers, app)
    assert (letter.offset, *letter.why) == (1, "spoil", "encode", "EncodeError")


def test_a_worker_without_input_is_ready_and_stops_at_once(brokers: str, topic_name: str) -> None:
    app = App(topic_name)
    orders = app.topic(f"{topic_name}.in", Order, key="n")

    @app.agent(orders)
    async def ignore(stream: Stream[Order]) -> None:
        async for _ in stream:
            pass

    create_topics(app, brokers)
    with Running(app, brokers) as running:
        running.until_ready()
        started = time.monotonic()
    assert time.monotonic() - started < 15
    assert running.recorder.restarts == []
