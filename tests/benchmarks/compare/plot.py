"""A comparison's report as a picture: throughput by engine, and latency by rate."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.compare.tables import rates_of
from topologies.drawing import ACCENT, INK, MUTED, PLAIN, STEPS, Layout, drawn, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAR: Final = 0.6
_SPREAD: Final[Mapping[str, Any]] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.4, "capsize": 3, "capthick": 1.4}
_OURS: Final = ("score", "agent", "agent_pydantic")
_CURVES: Final[Mapping[str, str]] = {
    "hand_loop": MUTED,
    "score": PLAIN,
    "agent": STEPS[2],
    "kafka_streams": ACCENT,
    "quix": "#9a6fb0",
    "bytewax": "#d9a441",
    "flechtwerk": "#7a8f4e",
}
"""Whose latency is drawn; Faust's is left to the table, for it would leave no room."""


def draw(file: Path, report: Mapping[str, Any]) -> None:
    """Draw medians with their spread over rounds, lowest to highest; ``report`` is ``summarize``'s.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    subtitle = (
        f"the same job, outputs checked equal; medians and spread of {report['rounds']} rounds, one worker; "
        f"{report['machine']['cores']} cores with the broker on them"
    )
    rates = rates_of(report)
    layout = Layout(width=10.5, height=4.4, columns=(1.35, 1.0) if rates else (1.0,))
    with drawn(file, layout, title="Beside other engines", subtitle=subtitle) as panels:
        _draw_throughput(panels[0], report["engines"])
        if rates:
            _draw_latency(panels[1], report["engines"])


def _draw_throughput(axes: Axes, engines: Mapping[str, Any]) -> None:
    titled(axes, "Throughput")
    rows = list(range(len(engines)))
    speeds = [engine["per_second"] for engine in engines.values()]
    medians = [speed["median"] for speed in speeds]
    axes.barh(rows, medians, height=_BAR, color=[PLAIN if name in _OURS else MUTED for name in engines])
    below = [speed["median"] - speed["low"] for speed in speeds]
    above = [speed["high"] - speed["median"] for speed in speeds]
    axes.errorbar(medians, rows, xerr=[below, above], **_SPREAD)
    longest = max(speed["high"] for speed in speeds)
    for row, speed in enumerate(speeds):
        axes.text(speed["high"] + longest / 40, row, f"{speed['median']:,.0f}", va="center", fontsize=9, color=INK)
    axes.set_yticks(rows, [engine["title"].replace("`", "") for engine in engines.values()])
    axes.set_xlim(0, longest * 1.2)
    axes.set_xlabel("records/s")
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")


def _draw_latency(axes: Axes, engines: Mapping[str, Any]) -> None:
    titled(axes, "Latency p99")
    for name, engine in engines.items():
        found = engine["latency_ms"]
        if name in _CURVES and found:
            rates = sorted(found, key=int)
            delays = [found[rate]["p99"]["median"] for rate in rates]
            label = engine["title"].replace("`", "").partition(",")[0]
            axes.plot(list(map(int, rates)), delays, marker="o", markersize=4, color=_CURVES[name], label=label)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xlabel("events/s")
    axes.set_ylabel("ms from due to a read_committed reader")
    axes.grid(axis="both")
    axes.legend(fontsize=8)
