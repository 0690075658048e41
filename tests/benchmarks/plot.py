"""The suite's report as a picture: each program's speed as a share of the hand loop's, and latency."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from tests.benchmarks.goals import GOALS
from tests.benchmarks.report import PROGRAMS, TITLES
from topologies.drawing import ACCENT, INK, MUTED, PLAIN, STEPS, Layout, drawn, keyed, titled

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_QUANTILES: Final = ("p50", "p95", "p99")
_BAR: Final = 0.5
_SPREAD: Final[Mapping[str, Any]] = {"fmt": "none", "ecolor": INK, "elinewidth": 1.6, "capsize": 4, "capthick": 1.6}


def draw(file: Path, report: Mapping[str, Any]) -> None:
    """Draw medians with their spread over rounds, lowest to highest, and the goals; ``report`` is ``summarize``'s.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    facts = report["machine"]
    subtitle = (
        f"{report['events']:,} events, medians and spread of {report['rounds']} rounds, exactly once, one worker; "
        f"{facts['cores']} cores with the broker on them"
    )
    layout = Layout(width=10.5, height=3.9, columns=(1.7, 1.0))
    with drawn(file, layout, title="Beside a hand-written loop", subtitle=subtitle) as (left, right):
        _draw_ratios(left, report)
        _draw_latency(right, report)


def _draw_ratios(axes: Axes, report: Mapping[str, Any]) -> None:
    titled(axes, "Throughput")
    ratios = [report.get(f"{name}_vs_hand_loop", 1.0) for name in PROGRAMS]
    spreads = [report["spread"].get(f"{name}_vs_hand_loop", (1.0, 1.0)) for name in PROGRAMS]
    rows = list(range(len(PROGRAMS)))
    axes.barh(rows, ratios, height=_BAR, color=[MUTED, *[PLAIN] * (len(PROGRAMS) - 1)])
    axes.errorbar(ratios[1:], rows[1:], xerr=_reaches(ratios[1:], spreads[1:]), **_SPREAD)
    for row, name in enumerate(PROGRAMS):
        shown = f"{ratios[row]:.3g} · {report[f'{name}_per_second']:,} records/s"
        axes.text(max(ratios[row], spreads[row][1]) + 0.03, row, shown, va="center", fontsize=9, color=INK)
    _draw_goals(axes, {row: f"{name}_vs_hand_loop" for row, name in enumerate(PROGRAMS)})
    axes.set_yticks(rows, [TITLES[name] for name in PROGRAMS])
    axes.set_xlim(0, max(high for _, high in spreads) * 1.5)
    axes.set_xlabel("ratio to the hand-written loop of the same round")
    _finish(axes)


def _draw_latency(axes: Axes, report: Mapping[str, Any]) -> None:
    titled(axes, "Latency at 1,000 events/s")
    delays = [report["latency_ms"][name] for name in _QUANTILES]
    spreads = [report["spread"]["latency_ms"][name] for name in _QUANTILES]
    rows = list(range(len(_QUANTILES)))
    axes.barh(rows, delays, height=_BAR, color=STEPS[2])
    axes.errorbar(delays, rows, xerr=_reaches(delays, spreads), **_SPREAD)
    bare = [report["hand_loop_latency_ms"][name] for name in _QUANTILES]
    axes.vlines(bare, [row - 0.34 for row in rows], [row + 0.34 for row in rows], colors=MUTED, label="hand loop")
    longest = max(high for _, high in spreads)
    for row, delay in enumerate(delays):
        axes.text(
            max(delay, spreads[row][1]) + longest / 25, row, f"{delay:.1f} ms", va="center", fontsize=9, color=INK
        )
    _draw_goals(axes, {row: f"latency_{name}_ms" for row, name in enumerate(_QUANTILES)})
    axes.set_yticks(rows, list(_QUANTILES))
    axes.set_xlim(0, longest * 1.35)
    axes.set_xlabel("ms from due to a read_committed reader")
    _finish(axes)


def _draw_goals(axes: Axes, names: Mapping[int, str]) -> None:
    """Draw a stroke where the goal of a row is: at least so much throughput, at most so much latency."""
    bounds = {row: GOALS[name].bound for row, name in names.items() if name in GOALS}
    lows, highs = [row - 0.34 for row in bounds], [row + 0.34 for row in bounds]
    axes.vlines(list(bounds.values()), lows, highs, colors=ACCENT, linewidth=2.4, label="goal")


def _reaches(medians: Sequence[float], spreads: Sequence[Sequence[float]]) -> list[list[float]]:
    """Return how far the spread reaches below and above each median."""
    pairs = list(zip(medians, spreads, strict=True))
    return [[middle - low for middle, (low, _) in pairs], [high - middle for middle, (_, high) in pairs]]


def _finish(axes: Axes) -> None:
    axes.invert_yaxis()
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x")
    keyed(axes)
