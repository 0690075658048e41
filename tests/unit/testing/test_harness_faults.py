"""Whatever befalls a step on the harness, its outcome is the same: each record once, in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river.drift import ADWIN

from streamserve import App, Batch, Regression, Stream, Topic
from streamserve.observer import Observer
from streamserve.testing import Harness
from streamserve.testing.harness import Fault

START = datetime(2024, 1, 1, tzinfo=UTC)
FAULTS: tuple[Fault, ...] = ("crash", "abort", "fence", "rebalance")


class Event(msgspec.Struct, frozen=True):
    n: int
    user: str = "u"
    at: datetime = START


class Scored(msgspec.Struct, frozen=True):
    n: int
    value: float


class Restarts(Observer):
    """Counts commits and the reasons of restarts."""

    def __init__(self) -> None:
        self.reasons: Counter[str] = Counter()
        self.commits = 0

    def aborted(self, reason: str, message: str) -> None:
        del message
        self.reasons[reason] += 1

    def committed(self, records: int, seconds: float) -> None:
        del records, seconds
        self.commits += 1


def echo() -> tuple[App, Topic[Event, str], Topic[Event, str]]:
    app = App("echo")
    events, copies = app.topic("events", Event, key="user"), app.topic("copies", Event, key="user")

    @app.agent(events, to=copies)
    async def copy(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            if event.n == 13:
                raise ValueError
            yield event

    return app, events, copies


def monitored() -> tuple[App, Topic[Event, str], Topic[Scored, str]]:
    """An app whose partition groups have state."""
    app = App("monitored")
    events = app.topic("events", Event, key="user", event_time="at")
    scored = app.topic("scored", Scored, key=lambda answer: str(answer.n))
    model = app.model("model", inputs=[Event], output=Regression)
    app.score(events, model=model, to=scored)
    app.monitor(model, detectors=[ADWIN()], window="1m")
    return app, events, scored


@pytest.mark.parametrize(
    ("fault", "reason"),
    [("crash", {}), ("abort", {"TransactionAborted": 1}), ("fence", {"OutcomeUnknown": 1}), ("rebalance", {})],
)
def test_a_fault_strikes_once_and_nothing_is_lost_or_seen_twice(fault: Fault, reason: dict[str, int]) -> None:
    app, events, copies = echo()
    restarts = Restarts()
    with Harness(app, observer=restarts) as harness:
        harness.send(events, Event(1))
        harness.fault(fault)
        harness.send(events, Event(2), Event(13), Event(3))
        harness.send(events, Event(4))
        assert [record.value.n for record in harness.read(copies)] == [1, 2, 3, 4]
        assert [letter.source.offset for letter in harness.dead_letters()] == [2]
        raw = [message.offset() for message in harness.read_bytes("copies")]
    assert dict(restarts.reasons) == reason
    assert restarts.commits == 3
    assert raw == ([0, 2, 3, 5] if fault == "rebalance" else [0, 5, 6, 8]), "an aborted try stays in the log, unseen"


def test_a_fault_that_finds_no_transaction_waits_for_one() -> None:
    app, events, copies = echo()
    restarts = Restarts()
    with Harness(app, observer=restarts) as harness:
        harness.fault("abort")
        harness.advance("1h")
        assert restarts.reasons == {}
        harness.send(events, Event(1))
        assert len(harness.read(copies)) == 1
    assert restarts.reasons == {"TransactionAborted": 1}


def test_a_restart_moves_no_clock() -> None:
    app, events, copies = echo()
    with Harness(app) as harness:
        harness.fault("abort")
        harness.send(events, Event(1))
        assert [record.timestamp for record in harness.read(copies)] == [START]
        assert harness.now == START


@pytest.mark.parametrize("fault", FAULTS)
def test_state_survives(fault: Fault) -> None:
    def drift(*, with_fault: bool) -> list[bytes | None]:
        app, events, _ = monitored()
        with Harness(app, models={"model": lambda row: Regression(float(str(row["n"])))}) as harness:
            for minute in range(4):
                if with_fault and minute == 2:
                    harness.fault(fault)
                at = START + timedelta(minutes=minute)
                harness.send(events, *(Event(n, at=at + timedelta(seconds=n)) for n in range(minute * 10, 55)))
            return [message.value() for message in harness.read_bytes("monitored-drift")]

    undisturbed = drift(with_fault=False)
    assert len(undisturbed) >= 3
    assert drift(with_fault=True) == undisturbed


@pytest.mark.parametrize("fault", FAULTS)
def test_tables_hold_what_was_committed(fault: Fault) -> None:
    app = App("counting")
    events, copies = app.topic("events", Event, key="user"), app.topic("copies", Event, key="user")
    seen = app.table("seen", int, default=int)

    @app.batch_agent(events, to=copies)
    def count(batch: Batch[Event]) -> Sequence[Event]:
        counted = [Event(seen.update(event.user, lambda number: number + 1), event.user) for event in batch]
        if any(event.n < 0 for event in batch):
            raise ValueError
        return counted

    with Harness(app, partitions=2) as harness:
        assert harness.table(seen) == {}
        harness.send(events, Event(0, "a"), Event(0, "b"), Event(-1, "a"), Event(0, "a"))
        harness.fault(fault)
        harness.send(events, Event(0, "a"), Event(-1, "b"), Event(0, "c"))
        assert harness.table(seen) == {"a": 3, "b": 1, "c": 1}
        assert [record.value.n for record in harness.read(copies) if record.key == "a"] == [1, 2, 3]


def test_late_records_come_after_those_sent_behind_them() -> None:
    app, events, copies = echo()
    with Harness(app) as harness:
        harness.fault("late")
        harness.send(events, Event(1))
        assert harness.read(copies) == []
        harness.send(events, Event(2))
        assert [record.value.n for record in harness.read(copies)] == [2, 1]
        harness.fault("late")
        harness.send(events, Event(3))
        harness.advance("1s")
        late = harness.read(copies)[-1]
    assert (late.value.n, harness.read(events)[-1].timestamp) == (3, START)


def test_the_kinds_of_fault_are_all_tried_here() -> None:
    kinds = {kind for part in get_args(Fault) for kind in (get_args(part) or [part])}
    assert kinds == {*FAULTS, "late"}


@settings(max_examples=15, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([*FAULTS, None, None]), st.integers(0, 5)), max_size=6))
def test_any_run_of_faults_gives_what_an_undisturbed_run_gives(steps: list[tuple[Fault | None, int]]) -> None:
    app, events, copies = echo()
    numbers = iter(range(100))
    with Harness(app, partitions=3) as harness:
        for fault, size in steps:
            if fault is not None:
                harness.fault(fault)
            harness.send(events, *(Event(n, f"user-{n % 5}") for n, _ in zip(numbers, range(size), strict=False)))
        sent = [record.value.n for record in harness.read(events)]
        seen = [record.value.n for record in harness.read(copies)]
        dead = [harness.read(events)[0].topic for _ in harness.dead_letters()]
    assert sorted(seen) == [n for n in sorted(sent) if n != 13]
    assert len(dead) == sent.count(13)
    for user in range(5):
        assert [n for n in seen if n % 5 == user] == [n for n in sent if n % 5 == user and n != 13]
