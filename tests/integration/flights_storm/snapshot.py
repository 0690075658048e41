"""The last state records of the partition groups, held against a recomputation.

Monitoring at any moment is made of open windows, of the latest rows, which are not counted yet, and of detectors. How
many rows wait depends on where windows were closed, but they have to be the latest ones as they were scored, bit for
bit, and the windows have to be what all the others come to. Detectors have to be in the state, bit for bit, of ones
that were fed value by value.
"""

from __future__ import annotations

import pickle
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from tests.integration.flights_storm.detection import Alarm, Running, canonical
from tests.integration.flights_storm.figures import DAY_MS, Baseline, describe_days, rank_bound
from tests.integration.flights_storm.findings import Finding, alike, compare
from tests.integration.flights_storm.scored import Floats, ScoredRows
from tests.integration.flights_storm.state_record import TOPIC, Monitoring, RawRows

__all__ = ["judge_state"]

_HALF = 128
"""A level of a quantile sketch has so many values of each column."""


def judge_state(
    states: Mapping[int, Monitoring],
    scored: Mapping[int, ScoredRows],
    version: str,
    baseline: Baseline,
    watermarks: Mapping[int, int],
) -> Iterator[Finding]:
    """Judge the last records; ``watermarks`` are the event times that were committed with the offsets."""
    known = {partition: states[partition] for partition in scored if partition in states}
    heads = {partition: _head(rows, version, watermarks[partition]) for partition, rows in scored.items()}
    yield compare(f"fold of {TOPIC}: place", heads, {partition: each.head for partition, each in states.items()})
    edges = {name: each["edges"] for name, each in baseline.items() if "edges" in each}
    yield compare(f"fold of {TOPIC}: bins", dict.fromkeys(known, edges), {p: each.edges for p, each in known.items()})
    yield from _judge_rows(known, scored, baseline)
    sketches = [(f"partition {p}", *one) for p, each in known.items() for one in _sketches(each, scored[p])]
    unlike = tuple(f"{where}: {what}" for where, what, fits in sketches if not fits)
    yield Finding(f"fold of {TOPIC}: quantile sketches", len(sketches), len(unlike), unlike[:3])
    yield from _judge_detectors(known, scored)


def _judge_rows(
    known: Mapping[int, Monitoring], scored: Mapping[int, ScoredRows], baseline: Baseline
) -> Iterator[Finding]:
    """Judge the rows that wait, and the windows that all other rows have gone into."""
    waiting = {partition: each.waiting for partition, each in known.items()}
    sizes = {partition: len(times) // 8 for partition, (times, _, _) in waiting.items()}
    latest = {partition: _rows(scored[partition], each, sizes[partition]) for partition, each in known.items()}
    yield compare(f"fold of {TOPIC}: rows not counted yet", latest, waiting)
    expected: dict[object, object] = {}
    for partition, each in known.items():
        counted = _first(scored[partition], len(scored[partition]) - sizes[partition])
        expected |= {(partition, *at): figures for at, figures in _windows(counted, each, baseline)}
    found = {(partition, *at): figures for partition, each in known.items() for at, figures in each.windows}
    yield compare(f"fold of {TOPIC}: open windows", expected, {**found}, alike)


def _judge_detectors(known: Mapping[int, Monitoring], scored: Mapping[int, ScoredRows]) -> Iterator[Finding]:
    run = {partition: _run(scored[partition]) for partition in known}
    yield compare(
        f"fold of {TOPIC}: detectors",
        {(partition, *at): state for partition, (running, _) in run.items() for at, state in _detectors(running)},
        {(partition, *at): state for partition, each in known.items() for at, state in each.detectors},
    )
    yield compare(
        f"fold of {TOPIC}: alarms of open windows",
        {partition: _open_alarms(alarms, known[partition]) for partition, (_, alarms) in run.items()},
        {partition: each.alarms for partition, each in known.items()},
    )


def _head(rows: ScoredRows, version: str, watermark_ms: int) -> dict[str, Any]:
    """Return where the monitoring has to stand when all rows have been scored, nothing of it left to be told."""
    closed = watermark_ms // DAY_MS - 1
    return {"ordinal": len(rows), "version": version, "closed": closed, "late": 0, "length": DAY_MS, "untold": []}


def _rows(rows: ScoredRows, each: Monitoring, size: int) -> RawRows:
    """Return the latest rows as a record has them: times, numbers column by column, texts."""
    start = len(rows) - size
    numbers = np.array([rows.numbers[name][start:] for name in each.numeric])
    texts = [rows.texts[name][start:] for name in each.categorical]
    return rows.times_ms[start:].tobytes(), numbers.tobytes(), texts


def _first(rows: ScoredRows, size: int) -> ScoredRows:
    return ScoredRows(
        rows.times_ms[:size],
        {name: column[:size] for name, column in rows.numbers.items()},
        {name: column[:size] for name, column in rows.texts.items()},
    )


def _windows(counted: ScoredRows, each: Monitoring, baseline: Baseline) -> Iterator[tuple[tuple[int, Any, str], Any]]:
    """Yield the figures of each open window; a partition that has one origin has but one slice, of the same rows."""
    (sliced,) = each.slices
    origins = set(counted.texts[sliced])
    for (day, column), figures in describe_days(counted, baseline).items():
        if day > each.state.closed_through:
            kept = {name: value for name, value in figures.items() if name != "psi"}
            for name in (None, *origins):
                yield (day, name, column), kept


def _sketches(each: Monitoring, rows: ScoredRows) -> Iterator[tuple[str, bool]]:
    """Yield what each sketch is of, and whether all of its values were there, each at about its rank."""
    days = rows.times_ms // DAY_MS
    for day, (total, _, _) in each.state.windows.items():
        size, _, _, _, pending, levels, _ = total[0]
        parts = {level: np.frombuffer(values).reshape(-1, _HALF) for level, values in levels.items()}
        parts[-1] = np.frombuffer(pending).reshape(len(each.numeric), -1)
        whole = sum(part.shape[1] << (level + 1) for level, part in parts.items()) == size
        weights = np.concatenate([np.full(part.shape[1], 1 << (level + 1)) for level, part in parts.items()])
        values = np.concatenate(list(parts.values()), axis=1)
        for name, kept in zip(each.numeric, values, strict=True):
            seen = rows.numbers[name][days == day][:size]
            yield f"day {day}, {name}", whole and _ranked(kept, weights, np.sort(seen[~np.isnan(seen)]), size)


def _ranked(kept: Floats, weights: Any, ascending: Floats, size: int) -> bool:
    """Return whether weighted values, missing ones among them, have about the ranks that they have among all."""
    order = np.argsort(kept, kind="stable")
    values = kept[order]
    present = ~np.isnan(values)
    values, reached = values[present], np.cumsum(weights[order])[present]
    below, through = (np.searchsorted(ascending, values, side=side) for side in ("left", "right"))
    slack = rank_bound(size)
    near = (below - slack < reached) & (reached - weights[order][present] < through + slack)
    return bool((below < through).all() and near.all())


def _run(rows: ScoredRows) -> tuple[Running, list[Alarm]]:
    running = Running(rows)
    return running, [alarm for _ in range(len(running)) for alarm in running.step()]


def _detectors(running: Running) -> Iterator[tuple[tuple[str, str], tuple[int, int, bytes]]]:
    for column, named in running.detectors.items():
        for name, detector in named.items():
            state = canonical(pickle.dumps(detector))
            yield (column, name), (running.seen[column], running.alarms[column, name], state)


def _open_alarms(alarms: Sequence[Alarm], each: Monitoring) -> Counter[tuple[int, str, str]]:
    days = [(alarm.time_ms // DAY_MS, alarm.column, alarm.detector) for alarm in alarms]
    return Counter(place for place in days if place[0] > each.state.closed_through)
