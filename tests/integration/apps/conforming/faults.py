"""Events and results at fault."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

from streamserve import App, Batch, Reject, Stream, Window, aggregates, tumbling
from tests.integration.apps.conforming.events import PATIENT, START_MS, Event, Result, Total, shuffled, ticks
from tests.integration.conformance import Case, Phase
from tests.integration.running import Input


def refused(name: str, _: Path) -> Case:
    """Events that do not decode, or that agents or windows fail on, and results that cannot be made, by each policy."""
    app = App(name)
    events = app.topic(f"{name}.in", Event, key="user", event_time="at")
    lenient = app.topic(f"{name}.lenient", Event, key="user", event_time="at", on_error="skip")
    out, skipped, counts = (app.topic(f"{name}.{what}", Result, key="user") for what in ("out", "skipped", "counts"))
    sums = app.topic(f"{name}.sums", Total, key="key")

    @app.agent(events, to=out)
    async def check(stream: Stream[Event]) -> AsyncIterator[Any]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield Result(event.user, event.n)
            if event.n % 10 == 3:
                raise Reject("a three")
            if event.n % 10 == 7:
                yield "no result"

    @app.batch_agent(events, lenient, to=skipped, on_error="skip")
    def lightly(batch: Batch[Event]) -> Sequence[Result | Reject | None]:  # pyright: ignore[reportUnusedFunction]
        if any(event.n % 10 == 1 for event in batch):
            raise ValueError
        return [Result(event.user, event.n) if event.n % 2 else None for event in batch]

    def told(window: Window[float | None]) -> Total:
        if window.value is not None and window.value > 9:
            raise ValueError
        return Total(window.key, window.start, window.end, window.value)

    app.aggregate("sum", events, aggregates.sum("value"), window=tumbling("50ms"), to=sums, output=told)
    ratio = aggregates.custom(
        "ratio",
        state=float,
        initial=float,
        add=_share_added,
        merge=_plus,
        result=float,
    )
    app.aggregate("ratio", events, ratio, window=tumbling("1h"), to=counts, emit="change", output=_ratio)
    broken = [Input(value, b"user-2", START_MS + 100, -1) for value in (b"{", b"", b'{"n": "one"}', None, b"\xff")]
    given = [
        Phase(
            {events.name: [*shuffled(range(30), 7, 1), *broken], lenient.name: [*shuffled(range(20), 8, 1), *broken]}
        ),
        Phase({events.name: [*shuffled(range(40, 70), 7, 1), *ticks(1_000, 600)], lenient.name: ticks(2_000, 600)}),
        Phase({events.name: ticks(1_010, 1_000), lenient.name: ticks(2_010, 1_000)}),
    ]
    return Case(app, given, settings=PATIENT)


def _share_added(state: float, event: Event, _: int) -> float:
    return state + 1 / (event.n % 8)


def _plus(one: float, other: float) -> float:
    return one + other


def _ratio(window: Window[float]) -> Result:
    return Result(window.key, 0, str(window.value))
