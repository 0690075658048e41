"""Random programs of table reads, writes and faults, run by the engine and by a loop over dictionaries."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import nullcontext
from copy import deepcopy
from typing import Any, Literal, TypeAlias

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamserve import App, Reject, Stream, Topic
from streamserve.dataflow.planning.nodes import Ordering
from streamserve.tables import Table
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

Op: TypeAlias = Literal["read", "add", "set", "delete", "held", "send", "pause", "yield", "raise", "reject", "spoil"]

FAULTS: tuple[Fault | None, ...] = (None, "crash", "abort", "fence", "rebalance")
ORDERINGS: tuple[Ordering, ...] = ("key", "partition", "unordered")
FATAL = frozenset({"raise", "reject", "spoil"})
PLAIN: tuple[Op, ...] = ("read", "add", "set", "delete", "held", "send", "pause", "yield")
STATELESS: frozenset[Op] = frozenset({"send", "pause", "yield", "raise", "reject"})
SPOILED = 1000


class Event(msgspec.Struct, frozen=True):
    n: int
    user: str
    ops: tuple[Op, ...]


class Told(msgspec.Struct, frozen=True):
    """What an event has seen up to here: counts and lists of its key."""

    n: int
    seen: list[str]


OPS = st.lists(
    st.one_of(st.sampled_from(PLAIN), st.sampled_from(PLAIN), st.sampled_from([*PLAIN, *sorted(FATAL)])), max_size=6
)
PROGRAMS = st.lists(st.tuples(st.sampled_from("abcde"), OPS), min_size=1, max_size=24)


class Programs:
    """An app whose agent does what its events say."""

    def __init__(self, *, ordering: Ordering, io: bool, take: int | None) -> None:
        self.app = App("programs")
        self.events = self.app.topic("events", Event, key="user")
        self.told = self.app.topic("told", Told, key=lambda told: str(told.n))
        self.sent: Topic[Told, str] = self.app.topic("sent", Told, key=lambda told: str(told.n))
        self.counts: Table[str, int] = self.app.table("counts", int, default=int)
        self.lists: Table[str, list[int]] = self.app.table("lists", list[int], default=list)
        tables: Sequence[Table[Any, Any]] = () if ordering == "unordered" else (self.counts, self.lists)

        @self.app.agent(self.events, to=self.told, ordering=ordering, io=io, tables=tables)
        async def run(stream: Stream[Event]) -> AsyncIterator[Told]:  # pyright: ignore[reportUnusedFunction]
            if take is None:
                kept = stream.filter(lambda event: "held" not in event.ops or event.user in self.counts)
                async for event in kept:
                    async for told in self.follow(event, io=io):
                        yield told
                return
            async for events in stream.take(take):
                for event in events:
                    async for told in self.follow(event, io=io):
                        yield told

    async def follow(self, event: Event, *, io: bool) -> AsyncIterator[Told]:
        seen: list[str] = []
        for op in event.ops:
            match op:
                case "pause" if io:
                    await asyncio.sleep(0)
                case "yield":
                    yield Told(event.n, [*seen])
                case "send":
                    await self.sent.send(Told(event.n, [*seen]))
                case _:
                    self.change(event, op, seen)

    def change(self, event: Event, op: Op, seen: list[str]) -> None:
        key = event.user
        match op:
            case "read":
                seen.append(f"{self.counts[key]} {self.lists[key]} {key in self.counts} {key in self.lists}")
            case "add":
                self.counts.update(key, lambda count: count + event.n)
                self.lists.update(key, lambda numbers: [*numbers, event.n])
            case "set":
                self.counts[key] = event.n
                self.lists[key] = [event.n]
            case "delete":
                del self.counts[key], self.lists[key]
            case "spoil":
                self.lists[key].append(SPOILED)
            case "raise":
                raise ValueError("at fault")
            case "reject":
                raise Reject("at fault")
            case _:
                pass


class Reference:
    """What the programs come to one after the other."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}
        self.lists: dict[str, list[int]] = {}
        self.told: list[tuple[int, list[str]]] = []
        self.sent: list[tuple[int, list[str]]] = []
        self.dead: set[int] = set()

    def run(self, events: Sequence[Event], *, filters: bool) -> Reference:
        for event in events:
            if filters and "held" in event.ops and event.user not in self.counts:
                continue
            if is_fatal(event):
                self.dead.add(event.n)
                continue
            self.follow(event)
        return self

    def follow(self, event: Event) -> None:
        seen: list[str] = []
        key, spoiled = event.user, list[int]()
        for op in event.ops:
            numbers = [*self.lists.get(key, []), *spoiled]
            match op:
                case "read":
                    seen.append(f"{self.counts.get(key, 0)} {numbers} {key in self.counts} {key in self.lists}")
                case "spoil":
                    spoiled.append(SPOILED)
                case "add":
                    self.counts[key] = self.counts.get(key, 0) + event.n
                    self.lists[key], spoiled = [*numbers, event.n], []
                case "set":
                    self.counts[key] = event.n
                    self.lists[key], spoiled = [event.n], []
                case "delete":
                    self.counts.pop(key, None)
                    self.lists.pop(key, None)
                    spoiled = []
                case "yield":
                    self.told.append((event.n, [*seen]))
                case "send":
                    self.sent.append((event.n, [*seen]))
                case _:
                    pass


def is_fatal(event: Event) -> bool:
    """Tell whether an event fails: what it spoils counts unless it is overwritten or deleted afterwards."""
    spoiled = False
    for op in event.ops:
        if op in {"raise", "reject"}:
            return True
        spoiled = op == "spoil" or (spoiled and op not in {"set", "delete", "add"})
    return spoiled


def allowed(ops: Sequence[Op], ordering: Ordering, take: int | None) -> tuple[Op, ...]:
    """Return the ``ops`` that an agent may do; in a list it is the list's last word on a key that counts."""
    left_out: set[Op] = {"spoil", "held"} if take is not None and take > 1 else set()
    return tuple(op for op in ops if op not in left_out and (ordering != "unordered" or op in STATELESS))


def by_event(found: Sequence[tuple[int, list[str]]]) -> list[tuple[int, list[str]]]:
    """Return what was found in the input's order; what one event made stays in its own."""
    return sorted(deepcopy(found), key=lambda told: told[0])


@pytest.mark.parametrize("take", [None, 2])
@pytest.mark.parametrize("together", [False, True])
def test_what_an_event_may_iterate_over_does_not_depend_on_the_partitions_beside_its_own(
    *, together: bool, take: int | None
) -> None:
    app = App("beside")
    events = app.topic("events", Event, key="user")
    told = app.topic("told", Told, key=lambda told: str(told.n))
    counts = app.table("counts", int, default=int)

    async def each(stream: Stream[Event]) -> AsyncIterator[Event]:
        if take is None:
            async for event in stream:
                yield event
            return
        async for lists in stream.take(take):
            for event in lists:
                yield event

    @app.agent(events, to=told, ordering="partition", tables=[counts])
    async def tell(stream: Stream[Event]) -> AsyncIterator[Told]:  # pyright: ignore[reportUnusedFunction]
        async for event in each(stream):
            counts[event.user] = event.n
            yield Told(event.n, [user for user, _ in counts.items()])

    with Harness(app, partitions=2) as harness, harness.together() if together else nullcontext():
        for n in range(4):
            harness.send(events, Event(n, f"user-{n}", ()), partition=n % 2)
    with Harness(app, after=harness) as harness:
        found = {record.value.n: record.value.seen for record in harness.read(told)}
    assert found == {0: ["user-0"], 1: ["user-1"], 2: ["user-0", "user-2"], 3: ["user-1", "user-3"]}


@pytest.mark.parametrize("take", [None, 1, 3, 50])
@pytest.mark.parametrize("io", [False, True])
@settings(max_examples=25, deadline=None)
@given(
    programs=PROGRAMS,
    ordering=st.sampled_from(ORDERINGS),
    fault=st.sampled_from(FAULTS),
    partitions=st.integers(1, 3),
    cut=st.integers(0, 24),
)
def test_tables_outputs_and_dead_letters_are_those_of_one_event_after_the_other(
    *,
    programs: Sequence[tuple[str, Sequence[Op]]],
    ordering: Ordering,
    fault: Fault | None,
    partitions: int,
    cut: int,
    io: bool,
    take: int | None,
) -> None:
    events = [Event(n, user, allowed(ops, ordering, take)) for n, (user, ops) in enumerate(programs)]
    made = Programs(ordering=ordering, io=io, take=take)
    wanted = Reference().run(events, filters=take is None)
    with Harness(made.app, partitions=partitions) as harness:
        if events[:cut]:
            harness.send(made.events, *events[:cut])
        if fault is not None:
            harness.fault(fault)
        if events[cut:]:
            harness.send(made.events, *events[cut:])
        told = [(record.value.n, record.value.seen) for record in harness.read(made.told)]
        sent = [(record.value.n, record.value.seen) for record in harness.read(made.sent)]
        dead = [msgspec.json.decode(letter.value or b"", type=Event).n for letter in harness.dead_letters()]
        assert sorted(dead) == sorted(wanted.dead)
        assert by_event(told) == wanted.told
        assert by_event(sent) == wanted.sent
        if ordering != "unordered":
            assert harness.table(made.counts) == wanted.counts
            assert harness.table(made.lists) == wanted.lists
