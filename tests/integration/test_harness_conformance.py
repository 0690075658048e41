"""The same app on the same records gives the same outcomes on the harness and on a real broker."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, TypeAlias

import msgspec
import pytest
from river.drift import ADWIN

from streamserve import App, Batch, Regression, Reject, Scalar, Stream, Topic
from streamserve.clock import ManualClock
from streamserve.dataflow.planning.declared import Declared
from streamserve.features.memory import MemoryReader
from streamserve.inference.registry import Registry
from streamserve.kafka.clients import KAFKA_CLIENTS
from streamserve.testing import Harness
from streamserve.testing.harness import Fault
from streamserve.testing.harness_stand_ins import FeatureFunction
from streamserve.testing.memory_kafka import Cluster, memory_clients
from streamserve.testing.reading import read_topic
from tests.integration.running import Input, Running, create_topics, send
from tests.unit.inference.onnx_models import float_package
from tests.unit.testing.client_scripts import SCRIPTS, Script

pytestmark = pytest.mark.broker

START = datetime(2024, 1, 1, tzinfo=UTC)
START_MS = round(START.timestamp() * 1000)
WEIGHTS = {f"user-{n}": {"x": n / 4} for n in range(5)}

Outcome: TypeAlias = tuple[int, bytes | None, bytes | None, Mapping[str, bytes]]
"""Partition, key, value and headers."""


class Event(msgspec.Struct, frozen=True):
    n: int
    user: str
    at: datetime


class Result(msgspec.Struct, frozen=True):
    n: int
    user: str
    text: str = ""


class Scored(msgspec.Struct, frozen=True):
    n: int
    user: str
    value: float
    model: str
    source_topic: str
    source_partition: int
    source_offset: int


@dataclass(slots=True)
class Case:
    """An app, what it is given topic by topic, and the topics that are compared."""

    app: App
    inputs: Mapping[str, Sequence[Input]]
    outputs: Sequence[str]
    partitions: int = 1
    features: Mapping[str, FeatureFunction] = field(default_factory=dict[str, FeatureFunction])

    @property
    def records(self) -> int:
        return sum(map(len, self.inputs.values()))

    @property
    def compared(self) -> list[str]:
        return [*self.outputs, f"{self.app.name}-dead-letters"]


def inputs(numbers: Sequence[int], *, users: int = 5) -> list[Input]:
    """Return an event a second, every eleventh of which is no event."""
    return [
        Input(
            b"broken" if n % 11 == 10 else json.loads(msgspec.json.encode(event)),
            event.user.encode(),
            START_MS + n * 1000,
            partition=-1,
        )
        for n in numbers
        for event in [Event(n, f"user-{n % users}", START + timedelta(seconds=n))]
    ]


def topics(app: App) -> tuple[Topic[Event, str], Topic[Result, str]]:
    return (
        app.topic(f"{app.name}.in", Event, key="user", event_time="at"),
        app.topic(f"{app.name}.out", Result, key="user"),
    )


def agents(name: str, _: Path) -> Case:
    """Agents that yield, send, reject and raise, on several partitions."""
    app = App(name)
    events, results = topics(app)
    sent = app.topic(f"{name}.sent", Result, key="user")
    batches = app.topic(f"{name}.batches", Result, key="user")

    @app.agent(events, to=results)
    async def answer(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            for part in range(event.n % 3):
                yield Result(event.n, event.user, f"part {part}")
            if event.n % 7 == 3:
                raise Reject("a seven and three")

    @app.agent(events)
    async def tell(stream: Stream[Event]) -> None:  # pyright: ignore[reportUnusedFunction]
        async for record in stream.records():
            headers = {"from": f"{record.key} {record.partition}/{record.offset}".encode()}
            await sent.send(Result(record.value.n, record.value.user), headers=headers)
            if record.value.n % 5 == 4:
                raise LookupError

    @app.batch_agent(events, to=batches, max_size=7)
    def check(batch: Batch[Event]) -> Sequence[Result | Reject | None]:  # pyright: ignore[reportUnusedFunction]
        if any(event.n == 25 for event in batch):
            raise ValueError
        return [Result(event.n, event.user) if event.n % 2 else None for event in batch]

    return Case(app, {events.name: inputs(range(60))}, [results.name, sent.name, batches.name], partitions=3)


def scores(name: str, registry: Path) -> Case:
    """A real model on features: a table in memory on the broker, a function on the harness."""
    float_package(registry)
    Registry(registry).set_alias("model", "champion", "1")
    app = App(name, model_registry=registry)
    events = app.topic(f"{name}.in", Event, key="user", event_time="at")
    scored = app.topic(f"{name}.out", Scored, key="user")
    weights = app.features("weights", event=Event, log=1)
    model = app.model("model", inputs=[weights], output=Regression)
    app.score(events, features=weights, model=model, to=scored)
    app.monitor(model, detectors=[ADWIN()], window="10s")
    own = [f"{name}-drift", f"{name}-features"]
    return Case(app, {events.name: inputs(range(60), users=6)}, [scored.name, *own], features={"weights": weight_of})


def weight_of(event: Mapping[str, Scalar]) -> Mapping[str, Scalar] | None:
    return WEIGHTS.get(str(event["user"]))


def merged(name: str, _: Path) -> Case:
    """Two topics in order of event time."""
    app = App(name)
    left, results = topics(app)
    right = app.topic(f"{name}.more", Event, key="user", event_time="at")

    @app.agent(left, right, to=results)
    async def merge(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.n, event.user)

    given = {left.name: inputs(range(0, 60, 2)), right.name: inputs(range(1, 90, 2))}
    return Case(app, given, [results.name], partitions=2)


def chained(name: str, _: Path) -> Case:
    """An agent that reads what another writes."""
    app = App(name)
    events, results = topics(app)
    last = app.topic(f"{name}.last", Result, key="user")

    @app.agent(events, to=results)
    async def first(stream: Stream[Event]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.n, event.user)

    @app.agent(results, to=last)
    async def second(stream: Stream[Result]) -> AsyncIterator[Result]:  # pyright: ignore[reportUnusedFunction]
        async for result in stream:
            yield Result(result.n * 10, result.user)

    return Case(app, {events.name: inputs([n for n in range(50) if n % 11 != 10])}, [results.name, last.name])


def counted(name: str, _: Path) -> Case:
    """A table that outputs depend on."""
    app = App(name)
    events, results = topics(app)
    seen = app.table("seen", int, default=int)

    @app.batch_agent(events, to=results)
    def count(batch: Batch[Event]) -> Sequence[Result]:  # pyright: ignore[reportUnusedFunction]
        counts = [seen.update(event.user, lambda number: number + 1) for event in batch]
        if any(event.n % 13 == 12 for event in batch):
            raise ValueError
        return [Result(event.n, event.user, str(number)) for event, number in zip(batch, counts, strict=True)]

    return Case(app, {events.name: inputs(range(60))}, [results.name], partitions=3)


def on_the_harness(case: Case, faults: Sequence[Fault]) -> dict[str, list[Outcome]]:
    """Process everything at once, as a broker that has it all would give it."""
    app = case.app
    made = {name: Topic[Any, Any](node, Declared(app.name)) for name, node in app.plan().topics.items()}
    with Harness(app, partitions=case.partitions, features=case.features) as harness:
        for fault in faults:
            harness.fault(fault)
        with harness.together():
            for name, given in case.inputs.items():
                for item in given:
                    value = item.value if isinstance(item.value, bytes) else json.dumps(item.value).encode()
                    at = START + timedelta(milliseconds=item.timestamp_ms - START_MS)
                    harness.send_bytes(made[name], value, key=item.key, timestamp=at)
        return {
            topic: _by_partition(
                (m.partition() or 0, m.key(), m.value(), dict(m.headers() or ()))  # pyright: ignore[reportArgumentType] - ours are pairs
                for m in harness.read_bytes(topic)
            )
            for topic in case.compared
        }


def on_the_broker(case: Case, brokers: str) -> dict[str, list[Outcome]]:
    create_topics(case.app, brokers, partitions=case.partitions)
    for name, given in case.inputs.items():
        send(brokers, name, given, {"partitioner": "murmur2_random"})
    readers = {"weights": lambda: MemoryReader("weights", ("user",), {"x": float}, WEIGHTS)} if case.features else None
    with Running(case.app, brokers, readers) as running:
        running.until_committed(case.records * (2 if len(case.app.plan().parts) > 1 else 1))
    return {
        topic: _by_partition((r.partition, r.key, r.value, dict(r.headers)) for r in read_topic(brokers, topic))  # pyright: ignore[reportArgumentType] - values of headers are bytes
        for topic in case.compared
    }


def _by_partition(outcomes: Any) -> list[Outcome]:
    """Return outcomes partition by partition, each in its order; dead letters of several partitions by their source."""
    rows: list[Outcome] = list(outcomes)
    return sorted(rows, key=lambda row: (row[0], _source(row[3])))


def _source(headers: Mapping[str, bytes]) -> tuple[bytes, ...]:
    return tuple(headers.get(name, b"") for name in ("step", "source-topic", "source-partition"))


@pytest.mark.parametrize("faults", [(), ("crash", "rebalance", "fence", "abort")], ids=["calm", "faults"])
@pytest.mark.parametrize("build", [agents, scores, merged, chained, counted])
def test_the_harness_and_a_broker_agree(
    build: Callable[[str, Path], Case], faults: Sequence[Fault], brokers: str, topic_name: str, tmp_path: Path
) -> None:
    case = build(topic_name, tmp_path)
    in_memory = on_the_harness(case, faults)
    assert all(in_memory[topic] for topic in case.outputs)
    assert in_memory == on_the_broker(case, brokers)


@pytest.mark.parametrize("script", SCRIPTS)
def test_clients_in_memory_behave_as_the_real_ones(script: Script, brokers: str, topic_name: str) -> None:
    in_memory = script(memory_clients(Cluster(ManualClock())), {}, topic_name)
    assert in_memory == script(KAFKA_CLIENTS, {"bootstrap.servers": brokers, "log_level": 0}, topic_name)
