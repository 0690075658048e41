"""Whoever watches the engine sees what it does and which records it does it to, and nothing stays in its hands."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

import msgspec

from streamserve import App, Batch, Features, Model, Regression, Stream
from streamserve.observer import Observer
from streamserve.records import Located
from streamserve.testing import Harness


class Number(msgspec.Struct, frozen=True):
    n: int


class Size(msgspec.Struct, frozen=True):
    size: int


class Watcher(Observer):
    """Keeps what runs, and everything that ever ran."""

    def __init__(self) -> None:
        self.hands: list[tuple[str, str, Located | None]] = []
        self.ran: set[str] = set()
        self.left_over: list[str] = []

    def entered(self, kind: str, name: str, at: Located | None = None) -> None:
        self.hands.append((kind, name, at))
        self.ran.add(" > ".join(f"{kind} {name}" for kind, name, _ in self.hands))

    def left(self) -> None:
        self.hands.pop()

    def progress(self) -> None:
        self.left_over += [f"{kind} {name}" for kind, name, _ in self.hands]
        self.hands.clear()

    def spans(self) -> list[str]:
        """Return where the innermost thing in hand that stands anywhere stands now."""
        return next(list(map(str, at.spans())) for _, _, at in reversed(self.hands) if at is not None)


def app_of(watcher: Watcher, seen: list[list[str]], *, io: bool = False) -> App:
    app = App("watched")
    numbers, same = app.topic("numbers", Number, key="n"), app.topic("same", Number, key="n")

    @app.agent(numbers, to=same, io=io)
    async def copy(stream: Stream[Number]) -> AsyncIterator[Number]:  # pyright: ignore[reportUnusedFunction]
        async for number in stream:
            if io:
                await asyncio.sleep(0)
            seen.append(watcher.spans())
            yield number

    return app


def test_while_an_agent_runs_its_own_record_is_named() -> None:
    watcher, seen = Watcher(), list[list[str]]()
    app = app_of(watcher, seen)
    numbers = app.topic("numbers", Number, key="n")
    with Harness(app, observer=watcher) as harness:
        harness.send(numbers, *map(Number, range(3)))
    assert sorted(seen) == [["numbers[0]@0"], ["numbers[0]@1"], ["numbers[0]@2"]]
    assert "agent copy" in watcher.ran
    assert watcher.left_over == []


def test_of_an_agent_with_io_all_records_are_named_that_are_not_done() -> None:
    watcher, seen = Watcher(), list[list[str]]()
    app = app_of(watcher, seen, io=True)
    numbers = app.topic("numbers", Number, key="n")
    with Harness(app, observer=watcher) as harness:
        harness.send(numbers, *map(Number, range(3)))
    assert seen[0] == ["numbers[0]@0-2"]
    assert seen[-1][0].endswith("2")


def test_a_batch_agent_is_named_with_the_records_that_it_was_given() -> None:
    watcher, seen = Watcher(), list[list[str]]()
    app = App("watched")
    numbers, same = app.topic("numbers", Number, key="n"), app.topic("same", Number, key="n")

    @app.batch_agent(numbers, to=same, max_size=2)
    def copy(batch: Batch[Number]) -> Sequence[Number]:  # pyright: ignore[reportUnusedFunction]
        seen.append(watcher.spans())
        return list(batch)

    with Harness(app, observer=watcher) as harness:
        harness.send(numbers, *map(Number, range(3)))
    assert seen == [["numbers[0]@0-1"], ["numbers[0]@2"]]


def test_what_waits_for_others_is_named_inside_of_what_asks() -> None:
    watcher = Watcher()
    app = App("watched")
    numbers, results = app.topic("numbers", Number, key="n"), app.topic("results", Number, key="n")
    features: Features[Number, Size] = app.features("size_v1", event=Number, row=Size)
    model: Model[Regression] = app.model("risk", inputs=[features], output=Regression)
    app.score(numbers, features=features, model=model, to=results, output=lambda number, _: number, name="score")
    with Harness(
        app,
        observer=watcher,
        features={"size_v1": lambda _: {"size": 1}},
        models={"risk": lambda _: Regression(0.5)},
    ) as harness:
        harness.send(numbers, Number(1))
        assert len(harness.read(results)) == 1
    assert {
        "agent score > features size_v1",
        "agent score > model risk",
        "call producer.commit_transaction",
    } <= watcher.ran
    assert {"call consumer.poll", "decode numbers", "call producer.send_offsets > call producer.flush"} <= watcher.ran
    assert watcher.left_over == []


def test_nothing_stays_in_hand_when_the_engine_starts_anew() -> None:
    watcher, seen = Watcher(), list[list[str]]()
    app = app_of(watcher, seen)
    numbers = app.topic("numbers", Number, key="n")
    with Harness(app, observer=watcher) as harness:
        harness.fault("abort")
        harness.send(numbers, Number(1), Number(2))
    assert watcher.left_over == []
    assert watcher.hands == []
