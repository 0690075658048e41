"""What a comparison has found as plain data: medians over rounds with their spread, ratios within a round."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import median
from typing import Any

from tests.benchmarks.compare.rounds import Found, Plan, Round
from tests.benchmarks.compare.trials import Contender
from tests.benchmarks.report import machine

QUANTILES = ("p50", "p95", "p99", "p999")


def summarize(found: Found, plan: Plan, *, kafka: str) -> dict[str, Any]:
    """Return the figures by engine and, for latency, by rate; each with ``median``, ``low`` and ``high`` over rounds.

    ``per_second`` is in records a second, ``cpu_us`` processor time in microseconds a record, of the engine's process
    and its children, ``memory_mib`` the most that was resident, ``ratio_to`` another engine that of their throughputs
    in one round, ``latency_ms`` from the moment that an event was due. A rate is missing where the engine did not keep
    up with it in every round.
    """
    return {
        "events": plan.events,
        "rounds": len(found.rounds),
        "latency_seconds": plan.seconds,
        "engines": {name: _engine(name, item, found.rounds) for name, item in found.contenders.items()},
        "left_out": dict(found.left_out),
        "machine": machine(kafka),
    }


def spread(values: Iterable[float], digits: int) -> dict[str, float]:
    """Return the median, the lowest and the highest of some figures.

    >>> spread([3.0, 1.04, 2.0], 1)
    {'median': 2.0, 'low': 1.0, 'high': 3.0}
    """
    found = list(values)
    shown = {"median": median(found), "low": min(found), "high": max(found)}
    return {name: round(value, digits) for name, value in shown.items()}


def _engine(name: str, contender: Contender, rounds: Sequence[Round]) -> dict[str, Any]:
    mine = [item.throughput[name] for item in rounds]
    return {
        "title": contender.engine.title,
        "version": contender.program.version,
        "guarantee": contender.engine.guarantee,
        "is_peer": contender.engine.is_peer,
        "events": contender.events,
        "digest": mine[0].digest,
        "per_second": spread((item.per_second for item in mine), 0),
        "ratio_to": {other: _ratio(name, other, rounds) for other in rounds[0].throughput if other != name},
        "cpu_us": spread((item.cpu_us for item in mine), 2),
        "memory_mib": spread((item.memory_mib for item in mine), 0),
        "latency_ms": _latency(name, rounds),
    }


def _ratio(name: str, other: str, rounds: Sequence[Round]) -> dict[str, float]:
    return spread((item.throughput[name].per_second / item.throughput[other].per_second for item in rounds), 3)


def _latency(name: str, rounds: Sequence[Round]) -> dict[str, dict[str, dict[str, float]]]:
    """Return the quantiles by rate, its number as text, as JSON would have it."""
    mine = [item.latency.get(name, {}) for item in rounds]
    held = [rate for rate in mine[0] if all(rate in item for item in mine)]
    return {
        str(rate): {quantile: spread((getattr(item[rate], quantile) for item in mine), 2) for quantile in QUANTILES}
        for rate in held
    }
