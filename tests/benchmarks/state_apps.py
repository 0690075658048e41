"""What a table and a window cost an app, for each event: ``python -m tests.benchmarks.state_apps``.

Tables: the same app with and without a table, on the engine with a Kafka in memory; the difference is the update (read,
change, write, changelog). Windows: rows counted and read, panes written, a commit for each batch. All figures are
microseconds of processor time, the best of several rounds.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import AsyncIterator, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec

from streamserve import App, Batch, Stream, Topic, aggregates, hopping, sliding, tumbling
from streamserve.state.windows import WindowedState, WindowSpec
from streamserve.testing import Harness

START = datetime(2024, 1, 1, tzinfo=UTC)
BATCH = 4_096
KEYS = 100


class Event(msgspec.Struct, frozen=True):
    user: str
    amount: float
    at: datetime


class Total(msgspec.Struct, frozen=True):
    count: int = 0
    amount: float = 0.0


def events(count: int) -> list[Event]:
    """Return events of a hundred users, one a second."""
    return [Event(f"user-{n % KEYS}", n % 100 / 4, START + timedelta(seconds=n)) for n in range(count)]


def batch_app(has_table: bool) -> tuple[App, Topic[Event, str]]:
    """Return an app that takes a batch at a time."""
    app, source, target = _topics()
    totals = app.table("totals", Total, default=Total)

    def update(batch: Batch[Event]) -> Sequence[Event]:
        for event in batch:
            amount = event.amount
            totals.update(event.user, lambda total, amount=amount: Total(total.count + 1, total.amount + amount))
        return list(batch)

    app.batch_agent(source, to=target, name="step")(update if has_table else list)
    return app, source


def event_app(has_table: bool) -> tuple[App, Topic[Event, str]]:
    """Return an app that takes an event at a time."""
    app, source, target = _topics()
    totals = app.table("totals", Total, default=Total)

    async def update(stream: Stream[Event]) -> AsyncIterator[Event]:
        async for event in stream:
            amount = event.amount
            totals.update(event.user, lambda total, amount=amount: Total(total.count + 1, total.amount + amount))
            yield event

    async def echo(stream: Stream[Event]) -> AsyncIterator[Event]:
        async for event in stream:
            yield event

    app.agent(source, to=target, name="step")(update if has_table else echo)
    return app, source


def _topics() -> tuple[App, Topic[Event, str], Topic[Event, str]]:
    app = App("bench")
    return app, app.topic("in", Event, key="user", event_time="at"), app.topic("out", Event, key="user")


def measure_tables(count: int, rounds: int) -> dict[str, float]:
    """Return the cost of an event without a table, and what the table adds."""
    figures: dict[str, float] = {}
    kinds: dict[str, Callable[[bool], tuple[App, Topic[Event, str]]]] = {"batch": batch_app, "event": event_app}
    for name, make in kinds.items():
        without = min(_us_an_event(make, False, count) for _ in range(rounds))
        with_table = min(_us_an_event(make, True, count) for _ in range(rounds))
        figures[f"{name}_without_us"] = round(without, 2)
        figures[f"{name}_update_us"] = round(with_table - without, 2)
    return figures


def _us_an_event(make: Callable[[bool], tuple[App, Topic[Event, str]]], has_table: bool, count: int) -> float:
    app, source = make(has_table)
    sent = events(count)
    with Harness(app) as harness:
        harness.send(source, *sent[:BATCH])
        start = time.process_time()
        for first in range(0, count, BATCH):
            harness.send(source, *sent[first : first + BATCH])
        return (time.process_time() - start) / count * 1e6


def measure_windows(count: int, rounds: int) -> dict[str, float]:
    """Return the cost of an event by kind of window."""
    specs = {
        "tumbling_1h": tumbling("1h"),
        "hopping_24h_by_1h": hopping("24h", step="1h"),
        "sliding_1h": sliding("1h"),
    }
    return {
        f"{name}_{what.kind}_us": round(min(_us_a_row(spec, what, count) for _ in range(rounds)), 2)
        for name, spec in specs.items()
        for what in (aggregates.count(), aggregates.mean("amount"), aggregates.max("amount"))
    }


def _us_a_row(spec: WindowSpec, what: aggregates.Aggregate[Any], count: int) -> float:
    """Count events of 72 hours, and write the changelog."""
    state = WindowedState("bench", spec, what)
    sent = events(count)
    step_ms = 72 * 3_600_000 // count
    keys = [event.user.encode() for event in sent]
    times = [number * step_ms for number in range(count)]
    start = time.process_time()
    for first in range(0, count, BATCH):
        rows = slice(first, first + BATCH)
        state.observe(keys[rows], times[rows], sent[rows])
        state.advance(times[rows][-1])
        state.take_changes()
    return (time.process_time() - start) / count * 1e6


def main() -> None:
    """Print one JSON object for tables and one for windows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    given = parser.parse_args()
    gc.freeze()
    gc.disable()
    for name, figures in (
        ("tables", measure_tables(given.events, given.rounds)),
        ("windows", measure_windows(given.events, given.rounds)),
    ):
        print(msgspec.json.encode({name: figures}).decode(), flush=True)


if __name__ == "__main__":
    main()
