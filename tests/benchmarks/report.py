"""What a run of the suite has found: medians, ratios to the hand loop of the same round, and their spread."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from rich.table import Table

from tests.benchmarks import goals
from tests.benchmarks.latency import Latency
from tests.benchmarks.meter import Measurement

PROGRAMS = ("hand_loop", "score", "agent", "feast")
"""What is measured in turn in every round; the names of the figures."""

SERVING = ("hand_loop", "score")
"""Whose latency is measured in every round."""

TITLES = {
    "hand_loop": "hand-written loop",
    "score": "app.score",
    "agent": "one-event agent",
    "feast": "app.score with Feast",
}
QUANTILES = ("p50", "p95", "p99", "p999", "max")
_PACKAGES = ("bytewax", "confluent-kafka", "feast", "numpy", "onnxruntime", "river")


class Round(msgspec.Struct, frozen=True):
    """One measurement of each program, and the latency of ``app.score`` and of the hand loop."""

    programs: Mapping[str, Measurement]
    latency: Latency
    hand_loop_latency: Latency

    def ratio(self, program: str) -> float:
        """Return the throughput of ``program`` as a share of the hand loop's in this round."""
        return self.programs[program].per_second / self.programs["hand_loop"].per_second


def summarize(rounds: Sequence[Round], *, events: int, kafka: str) -> dict[str, Any]:
    """Return the figures as plain data: medians over rounds, and ``spread`` with lowest and highest.

    Throughput is in records a second, ``*_vs_hand_loop`` a ratio within a round, ``cpu_us`` processor time for each
    record in microseconds, ``latency_ms`` quantiles in milliseconds, ``latency_vs_hand_loop`` their ratio to the hand
    loop's at the same rate in the same round; ``goals`` says which hold.
    """
    speeds = {f"{name}_per_second": [_per_second(name, item) for item in rounds] for name in PROGRAMS}
    ratios = {f"{name}_vs_hand_loop": [item.ratio(name) for item in rounds] for name in PROGRAMS[1:]}
    delays = {name: [_delay(name, item.latency) for item in rounds] for name in QUANTILES}
    bare = {name: [_delay(name, item.hand_loop_latency) for item in rounds] for name in QUANTILES}
    slower = {
        name: [ours / theirs for ours, theirs in zip(delays[name], bare[name], strict=True)] for name in QUANTILES
    }
    medians = {
        **{name: round(median(values)) for name, values in speeds.items()},
        **{name: round(median(values), 3) for name, values in ratios.items()},
        "latency_ms": _medians(delays, 2),
        "hand_loop_latency_ms": _medians(bare, 2),
        "latency_vs_hand_loop": _medians(slower, 3),
    }
    return {
        "events": events,
        "rounds": len(rounds),
        **medians,
        "goals": goals.judge(medians),
        "cpu_us": {
            name: round(median(item.programs[name].cpu_microseconds for item in rounds), 2) for name in PROGRAMS
        },
        "spread": {
            **_spread(speeds, round),
            **_spread(ratios, lambda value: round(value, 3)),
            "latency_ms": _spread(delays, lambda value: round(value, 2)),
            "hand_loop_latency_ms": _spread(bare, lambda value: round(value, 2)),
            "latency_vs_hand_loop": _spread(slower, lambda value: round(value, 3)),
        },
        "machine": machine(kafka),
    }


def machine(kafka: str) -> dict[str, Any]:
    """Return what the figures depend on; ``kafka`` says which broker it was."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "memory_gib": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "kafka": kafka,
        **{name: version(name) for name in _PACKAGES},
    }


def as_table(report: Mapping[str, Any]) -> Table:
    """Return the report for people."""
    machine_facts, delays, slower = report["machine"], report["latency_ms"], report["latency_vs_hand_loop"]
    table = Table(
        title=f"{report['events']:,} events, {report['rounds']} rounds, {machine_facts['cores']} cores, medians",
        caption="ratio: to the hand-written loop of the same round; CPU: processor time for each record\n"
        f"latency at 1,000 events/s: p50 {delays['p50']} ms, p95 {delays['p95']} ms, p99 {delays['p99']} ms\n"
        f"ratio to the hand loop's: p50 {slower['p50']:.2f}, p99 {slower['p99']:.2f}\n"
        f"{goals.as_line(report['goals'])}",
    )
    for heading in ("program", "records/s", "ratio", "lowest to highest", "CPU µs"):
        table.add_column(heading, justify="left" if heading == "program" else "right")
    for name in PROGRAMS:
        table.add_row(*_row(report, name))
    return table


def _row(report: Mapping[str, Any], name: str) -> tuple[str, ...]:
    ratio = report.get(f"{name}_vs_hand_loop")
    low, high = report["spread"].get(f"{name}_vs_hand_loop", ("", ""))
    return (
        TITLES[name],
        f"{report[f'{name}_per_second']:,}",
        "1" if ratio is None else f"{ratio:.2f}",
        "" if ratio is None else f"{low:.2f} to {high:.2f}",
        f"{report['cpu_us'][name]:.2f}",
    )


def _per_second(name: str, item: Round) -> float:
    return item.programs[name].per_second


def _delay(name: str, item: Latency) -> float:
    return getattr(item, name)


def _medians(figures: Mapping[str, Sequence[float]], digits: int) -> dict[str, float]:
    return {name: round(median(values), digits) for name, values in figures.items()}


def _spread(figures: Mapping[str, Sequence[float]], shown: Callable[[float], float]) -> dict[str, list[float]]:
    return {name: [shown(min(values)), shown(max(values))] for name, values in figures.items()}


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
