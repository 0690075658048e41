"""What both drivers do at the edges: agents that fail early, await what they may not, or end by themselves."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from streamserve import Stream
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.driver import AgentDriver, HandDriver, places
from streamserve.dataflow.driving.effects import Send, ask, gather, perform
from streamserve.dataflow.driving.io_driver import IoDriver
from streamserve.errors import AgentError, ConfigurationError, DecodeError, EngineRestart, OutageError
from tests.unit.dataflow.fakes import FakeTarget, batch_of

KINDS = pytest.mark.parametrize("kind", ["hand", "io"])


def record_of(batch: RecordBatch, row: int) -> Any:
    """Stand for the record of a row; the key of the value 13 is no text."""
    if batch.values[row] == 13:
        raise DecodeError("the record's key is not UTF-8")
    return ("record", batch.values[row])


@contextmanager
def driving(kind: str, agent: Callable[[Stream[Any]], Any], *, yields: bool = True) -> Generator[AgentDriver]:
    loop = asyncio.new_event_loop()

    def start() -> Any:
        return agent(Stream())

    if kind == "io":
        driver: AgentDriver = IoDriver("a", start, yields=yields, ordering="key", record_of=record_of, loop=loop)
    else:
        driver = HandDriver("a", start, yields=yields, ordering="key", record_of=record_of)
    yield driver
    driver.close()
    loop.close()


@KINDS
def test_a_coroutine_agent_goes_on_over_batches(kind: str) -> None:
    seen: list[int] = []

    async def agent(stream: Stream[int]) -> None:
        async for event in stream:
            await perform(Send("side", event, None, 0, ()))
            seen.append(event)

    with driving(kind, agent, yields=False) as driver:
        first, second = driver.run(batch_of([1, 2])), driver.run(batch_of([3]))
    assert sorted(seen) == [1, 2, 3]
    assert [send.value for row in range(2) for send in first.sends[row]] == [1, 2]
    assert [send.value for send in second.sends[0]] == [3]


@KINDS
def test_an_agent_that_returns_is_started_anew_for_the_next_event(kind: str) -> None:
    starts: list[None] = []

    async def agent(stream: Stream[int]) -> AsyncIterator[int]:
        starts.append(None)
        async for event in stream:
            yield event
            return

    with driving(kind, agent) as driver:
        keys = [b"same"] * 3
        assert driver.run(batch_of([1, 2, 3], keys=keys)).outputs == [[1], [2], [3]]
        assert driver.run(batch_of([4], keys=keys[:1])).outputs == [[4]]
    assert len(starts) >= 4


@KINDS
def test_the_record_of_an_event_is_given_and_its_fault_is_the_events(kind: str) -> None:
    async def agent(stream: Stream[int]) -> AsyncIterator[Any]:
        async for record in stream.records():
            yield record

    with driving(kind, agent) as driver:
        for keys in ([None] * 3, [b"same"] * 3):
            for _ in range(2):
                outcomes = driver.run(batch_of([12, 13, 14], keys=keys))
                assert outcomes.outputs == [[("record", 12)], None, [("record", 14)]]
                assert [type(error) for error in outcomes.errors.values()] == [DecodeError]


@KINDS
def test_an_agent_that_never_reads_its_stream_is_refused(kind: str) -> None:
    async def agent(_: Stream[int]) -> AsyncIterator[int]:
        for nothing in ():
            yield nothing

    with driving(kind, agent) as driver, pytest.raises(ConfigurationError, match="without reading its stream"):
        driver.run(batch_of([1]))


async def yields_early(stream: Stream[int]) -> AsyncIterator[int]:
    yield 0
    async for event in stream:
        yield event


async def sends_early(stream: Stream[int]) -> AsyncIterator[int]:
    await perform(Send("side", 1, None, 0, ()))
    async for event in stream:
        yield event


async def asks_early(stream: Stream[int]) -> AsyncIterator[int]:
    await ask(FakeTarget("features"), 1)
    async for event in stream:
        yield event


async def raises_early(_: Stream[int]) -> AsyncIterator[int]:
    yield int("secret")


@KINDS
@pytest.mark.parametrize("agent", [yields_early, sends_early, asks_early, raises_early])
def test_what_happens_before_the_first_event_belongs_to_no_event(kind: str, agent: Any) -> None:
    with driving(kind, agent) as driver, pytest.raises(ConfigurationError, match="before it has read an event") as e:
        driver.run(batch_of([1]))
    assert "secret" not in str(e.value)


class Foreign:
    """An await that only its own event loop could answer."""

    def __await__(self) -> Iterator[Any]:
        yield self


async def own_future() -> None:
    await asyncio.get_running_loop().create_future()


async def raw() -> None:
    await Foreign()  # pyright: ignore[reportGeneralTypeIssues] - as an event loop's own future looks


async def timeout() -> None:
    async with asyncio.timeout(1):
        await asyncio.sleep(0)


@pytest.mark.parametrize(
    "foreign",
    [lambda: asyncio.sleep(0), lambda: asyncio.sleep(1), own_future, raw, timeout],
    ids=["no sleep", "sleep", "own future", "raw", "timeout"],
)
def test_a_foreign_await_names_io(foreign: Callable[[], Any]) -> None:
    async def agent(stream: Stream[int]) -> AsyncIterator[int]:
        async for event in stream:
            await foreign()
            yield event

    with driving("hand", agent) as driver, pytest.raises(ConfigurationError, match="io=True"):
        driver.run(batch_of([1, 2]))


def test_gather_of_foreign_awaits_names_io() -> None:
    async def nothing() -> None: ...

    async def agent(stream: Stream[int]) -> AsyncIterator[int]:
        async for event in stream:
            coroutine = nothing()
            try:
                await gather(coroutine)
            finally:
                coroutine.close()
            yield event

    with driving("hand", agent) as driver, pytest.raises(ConfigurationError, match="io=True"):
        driver.run(batch_of([1]))


@KINDS
def test_gather_gives_answers_in_its_order_and_raises_the_first_refusal(kind: str) -> None:
    features, model = FakeTarget("features", 0, frozenset({2})), FakeTarget("model", 1)

    async def agent(stream: Stream[int]) -> AsyncIterator[Any]:
        async for event in stream:
            yield await gather(ask(model, event), ask(features, event), ask(model, -event))
            yield await gather()

    with driving(kind, agent) as driver:
        outcomes = driver.run(batch_of([1, 2]))
    assert outcomes.outputs == [[(("model", 1), ("features", 1), ("model", -1)), ()], None]
    assert str(outcomes.errors[1]) == "refused by features"


@KINDS
def test_look_ups_of_many_events_are_answered_together(kind: str) -> None:
    features, model = FakeTarget("features", 0), FakeTarget("model", 1)

    async def agent(stream: Stream[int]) -> AsyncIterator[Any]:
        async for event in stream:
            row = await ask(features, event)
            yield await ask(model, row)

    with driving(kind, agent) as driver:
        driver.run(batch_of(range(200)))
    assert (features.sizes, model.sizes) == ([200], [200])


@KINDS
@pytest.mark.parametrize("error", [OutageError("away"), ConfigurationError("wrong"), EngineRestart("again")])
def test_what_is_no_records_fault_ends_the_incarnation(kind: str, error: Exception) -> None:
    async def agent(stream: Stream[int]) -> AsyncIterator[int]:
        async for event in stream:
            yield event
            raise error

    with driving(kind, agent) as driver, pytest.raises(type(error), match=str(error)):
        driver.run(batch_of([1, 2]))


@KINDS
def test_the_message_of_a_failure_names_class_and_line_and_repeats_nothing(kind: str) -> None:
    async def agent(stream: Stream[int]) -> AsyncIterator[int]:
        async for event in stream:
            yield event
            raise KeyError("secret")

    with driving(kind, agent) as driver:
        outcomes = driver.run(batch_of([1]))
    [error] = outcomes.errors.values()
    assert isinstance(error, AgentError)
    assert str(error).startswith("agent 'a' raised KeyError at test_driver.py:")
    assert "secret" not in str(error)
    assert isinstance(error.__cause__, KeyError)


def test_asyncio_works_with_io_and_a_cancelled_await_is_the_events_fault() -> None:
    features = FakeTarget("features")

    async def double(n: int) -> int:
        await asyncio.sleep(0.001)
        return 2 * n

    async def agent(stream: Stream[int]) -> AsyncIterator[Any]:
        async for event in stream:
            if event == 2:
                task = asyncio.ensure_future(asyncio.sleep(60))
                task.cancel()
                await task
            row, doubled = await asyncio.gather(ask(features, event), double(event))
            yield row, doubled

    with driving("io", agent) as driver:
        outcomes = driver.run(batch_of([1, 2, 3], keys=[b"same"] * 3))
    assert outcomes.outputs == [[(("features", 1), 2)], None, [(("features", 3), 6)]]
    assert "CancelledError" in str(outcomes.errors[1])


def test_a_look_up_given_up_on_with_io_disturbs_nobody() -> None:
    features = FakeTarget("features")

    async def agent(stream: Stream[int]) -> AsyncIterator[Any]:
        async for event in stream:
            if event == 1:
                asked = asyncio.ensure_future(ask(features, event))
                await asyncio.sleep(0)
                asked.cancel()
            yield await ask(features, -event)

    with driving("io", agent) as driver:
        assert driver.run(batch_of([1, 2])).outputs == [[("features", -1)], [("features", -2)]]


@KINDS
def test_closing_ends_the_instances_at_their_await(kind: str) -> None:
    ended: list[str] = []
    features = FakeTarget("features")

    async def agent(stream: Stream[int]) -> AsyncIterator[int]:
        try:
            async for event in stream:
                await ask(features, event)
                yield event
        finally:
            ended.append("ended")

    with driving(kind, agent) as driver:
        driver.run(batch_of([1, 2]))
        assert ended == []
        driver.close()
    del driver
    assert ended == ["ended", "ended"]


def test_keys_are_shared_out_evenly() -> None:
    keys = [b"%d" % (row % 100) for row in range(200)]
    assert list(places("key", batch_of(range(200), keys=keys), range(200))) == [*range(100), *range(100)]


@KINDS
def test_a_failed_event_takes_none_of_its_instances_others_with_it(kind: str) -> None:
    features = FakeTarget("features", 0, frozenset({2}))

    async def agent(stream: Stream[int]) -> AsyncIterator[Any]:
        async for event in stream:
            yield "begun"
            yield await ask(features, event)

    with driving(kind, agent) as driver:
        for _ in range(2):
            outcomes = driver.run(batch_of([1, 2, 3], keys=[b"same"] * 3))
            assert outcomes.outputs == [["begun", ("features", 1)], None, ["begun", ("features", 3)]]
            assert outcomes.errors.keys() == {1}


def test_rows_of_a_key_go_to_one_place_and_null_keys_spread() -> None:
    batch = batch_of(range(4), keys=[b"a", None, b"a", None], partitions=[3, 4, 3, 4])
    by_key = places("key", batch, range(4))
    assert by_key[0] == by_key[2]
    assert by_key[1] != by_key[3]
    assert list(places("partition", batch, range(4))) == [3, 4, 3, 4]
    assert list(places("unordered", batch, range(4))) == [0, 1, 2, 3]
