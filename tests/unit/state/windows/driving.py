"""Histories of rows and watermarks, and windows that go through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Any, NamedTuple

from hypothesis import strategies as st

from streamserve.aggregates import Aggregate
from streamserve.state.windows import WindowedState, WindowResult, WindowSpec, hopping, session, sliding, tumbling
from tests.unit.state.windows.reference import Found, Row

SPECS = {
    "tumbling": tumbling("12ms", grace="7ms"),
    "hopping": hopping("12ms", step="3ms", grace="7ms"),
    "sliding": sliding("9ms", grace="7ms"),
    "session": session("6ms", grace="7ms"),
}

_VALUES = st.one_of(st.none(), st.integers(-5, 5), st.floats(-1e6, 1e6), st.sampled_from([0.1, 0.2, 1e-150, 1e150]))


@st.composite
def histories(draw: st.DrawFn, *, jitter: int = 12) -> list[list[Row]]:
    """Return batches of rows whose times wander upwards, each row up to ``jitter`` ms behind or ahead."""
    batches: list[list[Row]] = []
    time = draw(st.integers(-40, 40))
    for size in draw(st.lists(st.integers(1, 6), min_size=1, max_size=8)):
        batch: list[Row] = []
        for _ in range(size):
            time += draw(st.sampled_from([0, 1, 2, 3, 40]))
            when = time + draw(st.integers(-jitter, jitter)) if jitter else time
            batch.append(Row(draw(st.sampled_from([b"a", b"b"])), when, draw(_VALUES), draw(st.booleans())))
        batches.append(batch)
    return batches


class Arrival(NamedTuple):
    """A row, how long after its time it comes, and what happens behind it."""

    row: Row
    delay: int
    ends_batch: bool
    restarts: bool


_rows = st.tuples(
    st.sampled_from([b"a", b"b"]),
    st.sampled_from([0, 1, 2, 5, 40]),
    _VALUES,
    st.integers(0, 7),
    st.booleans(),
    st.integers(0, 9).map(lambda number: number == 9),
)


@st.composite
def arrivals(draw: st.DrawFn) -> list[Arrival]:
    """Return rows in the order in which they come, each at most the grace of ``SPECS`` behind the newest of them."""
    drawn = draw(st.lists(_rows, min_size=1, max_size=25))
    times = accumulate((gap for _, gap, *_ in drawn), initial=draw(st.integers(-40, 40)))
    made = [
        Arrival(Row(key, time, value), delay, ends_batch, restarts)
        for time, (key, _, value, delay, ends_batch, restarts) in zip(times, drawn, strict=False)
    ]
    return sorted(made, key=lambda arrival: arrival.row.time + arrival.delay)


def batches(arriving: Sequence[Arrival]) -> Iterator[tuple[list[Row], bool]]:
    """Yield the rows of each batch, and whether a restart follows."""
    rows: list[Row] = []
    for place, arrival in enumerate(arriving, 1):
        rows.append(arrival.row)
        if arrival.ends_batch or place == len(arriving):
            yield rows, arrival.restarts
            rows = []


def run(state: WindowedState[Any], rows: Sequence[Row]) -> list[Any]:
    return state.run([row.key for row in rows], [row.time for row in rows], rows, [row.update for row in rows])


def found(results: Sequence[WindowResult[Any]]) -> list[Found]:
    return [(each.end_ms, each.key, each.start_ms, each.value) for each in results]


def restarted(
    state: WindowedState[Any], spec: WindowSpec, aggregate: Aggregate[Any], log: dict[bytes, bytes | None]
) -> WindowedState[Any]:
    """Commit what changed to ``log``, and return what a new worker makes of it."""
    log.update(zip(*state.take_changes(), strict=True))
    restored = WindowedState(state.name, spec, aggregate)
    items = list(log.items())
    for part in (items[:3], items[3:]):
        restored.load([key for key, _ in part], [value for _, value in part])
    restored.loaded()
    return restored
