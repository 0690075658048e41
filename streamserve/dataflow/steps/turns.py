"""Cuts the rows of a label join where time has to be told, and puts what they come to in order."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

from streamserve.dataflow.batch import NEVER, RecordBatch, Run
from streamserve.monitoring.labels.entries import Outcome

__all__ = ["Stretch", "Turned", "horizons", "in_turn", "stretches"]


class Turned(NamedTuple):
    """An outcome, and the row that settled it; ``None`` where time did."""

    outcome: Outcome
    row: int | None


class Stretch(NamedTuple):
    """Rows of one partition that may go through together, and how far time comes with them; ``None``: nowhere yet."""

    rows: Sequence[int]
    reached_ms: int | None


def horizons(batch: RecordBatch, watermarks_ms: Mapping[int, int | None]) -> list[tuple[Run, int | None]]:
    """Return the runs of ``batch``, each with how far time comes behind it: to the partition's next row, or its end."""
    ends, found = dict(watermarks_ms), list[tuple[Run, int | None]]()
    for run in reversed(batch.runs()):
        found.append((run, ends.get(run.partition)))
        ends[run.partition] = (batch.reached_ms or ())[run.start]
    return found[::-1]


def stretches(
    batch: RecordBatch, rows: Sequence[int], end_ms: int | None, closes_at_ms: Callable[[], float]
) -> Iterator[Stretch]:
    """Yield ``rows``, cut where it matters that time has come to a row before its turn.

    That is at rows that come too late, where a window of reports closes, which ``closes_at_ms`` tells, and where a key
    comes again, so that each outcome of a stretch can be told from where it came. For all else it makes no difference
    when what can match no more is given up.
    """
    times, reached = batch.times_ms or (), batch.reached_ms or ()
    start, keys = 0, set[bytes | None]()
    for place, row in enumerate(rows):
        key, reached_ms = batch.records[row].key(), reached[row]
        if reached_ms > NEVER and (times[row] < reached_ms or key in keys or reached_ms >= closes_at_ms()):
            yield Stretch(rows[start:place], reached_ms)
            start = place
            keys.clear()
        keys.add(key)
    yield Stretch(rows[start:], end_ms)


def in_turn(
    settled: Sequence[Outcome], expired: Sequence[Outcome], batch: RecordBatch, rows: Sequence[int], within_ms: int
) -> list[Turned]:
    """Return what a stretch of ``rows``, no two of one key, came to, in the order of the rows.

    What time has settled comes before the row before which the watermark has passed its bound.
    """
    place_of = {batch.records[row].key(): place for place, row in enumerate(rows)}
    turned = [Turned(outcome, rows[place_of[outcome.key]]) for outcome in settled]
    if not expired:
        return turned
    reached = [(batch.reached_ms or ())[row] for row in rows]
    order = [(place_of[outcome.key], 1) for outcome in settled]
    for outcome in expired:
        time_ms, own = _time_of(outcome), place_of.get(outcome.key)
        came = -1 if own is None or (batch.times_ms or ())[rows[own]] != time_ms else own
        order.append((max(bisect_right(reached, time_ms + within_ms), came + 1), 0))
    turned += [Turned(outcome, None) for outcome in expired]
    return [turned[each] for each in sorted(range(len(turned)), key=order.__getitem__)]


def _time_of(outcome: Outcome) -> int:
    """Return the time of the prediction, or label, that was given up."""
    known = outcome.prediction or outcome.label
    return 0 if known is None else known.time_ms
