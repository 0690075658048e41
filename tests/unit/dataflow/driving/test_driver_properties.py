"""Whatever an agent does with its events, both drivers come to what one event after the other comes to."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve import Reject, Stream
from streamserve.dataflow.batch import RecordBatch
from streamserve.dataflow.driving.driver import AgentDriver, HandDriver, Outcomes
from streamserve.dataflow.driving.effects import Send, ask, gather, perform
from streamserve.dataflow.driving.io_driver import IoDriver
from streamserve.dataflow.planning.nodes import Ordering
from streamserve.errors import FeatureRowError
from tests.unit.dataflow.fakes import FakeTarget, batch_of

Op: TypeAlias = Literal["yield", "send", "features", "model", "gather", "caught", "refused", "sleep", "reject", "raise"]
OPS: tuple[Op, ...] = ("yield", "send", "features", "model", "gather", "caught", "refused", "sleep", "reject", "raise")
AWAITS: frozenset[Op] = frozenset({"features", "model", "gather", "caught"})
FATAL: frozenset[Op] = frozenset({"refused", "reject", "raise"})


@dataclass(frozen=True, slots=True)
class Script:
    """One event: what the agent does with it, in order."""

    n: int
    user: int | None
    ops: tuple[Op, ...]


@dataclass(slots=True)
class Journal:
    """When the agent took and left each event, over all batches."""

    entries: list[tuple[str, Script]] = field(default_factory=list[tuple[str, Script]])


def expected(script: Script) -> tuple[list[Any] | None, list[Any], str | None]:
    """Return outputs, sends and the error's class of one event taken alone: the sequential reference."""
    outputs: list[Any] = []
    sends: list[Any] = []
    for place, op in enumerate(script.ops):
        if op in FATAL:
            return None, [], {"refused": "FeatureRowError", "reject": "Reject", "raise": "AgentError"}[op]
        if op == "yield":
            outputs.append((script.n, place))
        elif op == "send":
            sends.append((script.n, place))
        elif op != "sleep":
            outputs.append(answer(script.n, op))
    return outputs or None, sends, None


def answer(n: int, op: Op) -> Any:
    """Return what an await comes to."""
    both = (("features", n), ("model", n))
    return {"features": both[0], "model": both[1], "gather": both, "caught": "caught"}[op]


@contextmanager
def driver_of(kind: str, agent: Callable[[Stream[Any]], Any], ordering: Ordering) -> Generator[AgentDriver]:
    """Give a driver of few instances, so that they are shared."""
    if kind == "hand":
        hand = HandDriver(
            "a", lambda: agent(Stream()), yields=True, ordering=ordering, record_of=no_record, instances=5
        )
        yield hand
        hand.close()
        return
    loop = asyncio.new_event_loop()
    io = IoDriver(
        "a", lambda: agent(Stream()), yields=True, ordering=ordering, record_of=no_record, loop=loop, instances=5
    )
    yield io
    io.close()
    loop.close()


def no_record(*_: object) -> Any:
    raise AssertionError("records are not asked for")


class Scripted:
    """An agent that does what its events say."""

    def __init__(self, journal: Journal, *, io: bool) -> None:
        self._journal = journal
        self._io = io
        self._features, self._model = FakeTarget("features", 0, frozenset({-1})), FakeTarget("model", 1)

    async def __call__(self, stream: Stream[Script]) -> AsyncIterator[Any]:
        async for script in stream:
            self._journal.entries.append(("take", script))
            try:
                for place, op in enumerate(script.ops):
                    if op == "yield":
                        yield script.n, place
                    elif op in AWAITS:
                        yield await self._answer(script, op)
                    else:
                        await self._act(script, place, op)
            finally:
                self._journal.entries.append(("leave", script))

    async def _answer(self, script: Script, op: Op) -> Any:
        asked = {"features": (self._features,), "model": (self._model,), "gather": (self._features, self._model)}
        if op == "gather":
            return await gather(*(ask(target, script.n) for target in asked[op]))
        if op in asked:
            return await ask(asked[op][0], script.n)
        try:
            return await ask(self._features, -1)
        except FeatureRowError:
            return "caught"

    async def _act(self, script: Script, place: int, op: Op) -> None:
        match op:
            case "send":
                await perform(Send("side", (script.n, place), None, 0, ()))
            case "refused":
                await ask(self._features, -1)
            case "reject":
                raise Reject("no")
            case "raise":
                raise ValueError(script.n)
            case _ if self._io:
                await asyncio.sleep(script.n % 3 / 2000)
            case _:
                pass


@st.composite
def scripts(draw: st.DrawFn) -> list[Script]:
    ops = st.lists(st.sampled_from(OPS), max_size=5).map(tuple)
    users = st.none() | st.integers(0, 3)
    many = draw(st.lists(st.tuples(users, ops), max_size=40))
    return [Script(n, user, done) for n, (user, done) in enumerate(many)]


def batches(events: Sequence[Script], cuts: Sequence[int]) -> Iterator[RecordBatch]:
    """Split the events at ``cuts``; partitions follow users, as Kafka's do."""
    places = sorted({0, len(events), *(cut % (len(events) + 1) for cut in cuts)})
    for start, stop in pairwise(places):
        rows = events[start:stop]
        keys = [None if row.user is None else b"%d" % row.user for row in rows]
        yield batch_of(rows, keys=keys, partitions=[(row.user or 0) % 2 for row in rows], first_offset=start)


def check_outcomes(batch: RecordBatch, outcomes: Outcomes) -> None:
    """Each row came to what it comes to alone; rows hold outputs, so their order is the input's."""
    for row, script in enumerate(batch.values):
        outputs, sends, error = expected(script)
        failed = outcomes.errors.get(row)
        assert (type(failed).__name__ if failed else None) == error
        assert outcomes.outputs[row] == outputs
        assert [send.value for send in outcomes.sends.get(row, [])] == sends


def check_order(journal: Journal, group_of: Callable[[Script], Any]) -> None:
    """Events of one group were taken in order, each after the one before it was left."""
    by_group: dict[Any, list[tuple[str, int]]] = defaultdict(list)
    for what, script in journal.entries:
        if group_of(script) is not None:
            by_group[group_of(script)].append((what, script.n))
    for entries in by_group.values():
        numbers = [n for _, n in entries[::2]]
        assert numbers == sorted(numbers)
        assert entries == [(what, n) for n in numbers for what in ("take", "leave")]


GROUPS: dict[Ordering, Callable[[Script], Any]] = {
    "key": lambda script: script.user,
    "partition": lambda script: (script.user or 0) % 2,
    "unordered": lambda script: script.n,
}


@pytest.mark.parametrize("kind", ["hand", "io"])
@pytest.mark.parametrize("ordering", ["key", "partition", "unordered"])
@given(events=scripts(), cuts=st.lists(st.integers(0, 100), max_size=4))
@settings(max_examples=40, deadline=None)
def test_every_event_comes_to_what_it_comes_to_alone(
    kind: str, ordering: Ordering, events: list[Script], cuts: list[int]
) -> None:
    journal = Journal()
    with driver_of(kind, Scripted(journal, io=kind == "io"), ordering) as driver:
        for batch in batches(events, cuts):
            check_outcomes(batch, driver.run(batch))
    check_order(journal, GROUPS[ordering])
