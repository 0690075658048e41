"""A soak as a picture: what each worker holds in memory, and how late answers were."""

from __future__ import annotations

from pathlib import Path

from tests.integration.evidence.soak.run import Report
from topologies.drawing import ACCENT, MUTED, PLAIN, Layout, drawn, keyed, titled

__all__ = ["draw"]

_COLOURS = (MUTED, PLAIN, ACCENT)


def draw(report: Report, file: Path) -> None:
    """Draw ``report`` into ``file``, an SVG.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    subtitle = f"{report.rate:,.0f} inputs a second, {report.kills} kills, {report.minutes:g} minutes"
    layout = Layout(width=10.5, height=7.6, rows=(1.4, 1.0, 1.0))
    with drawn(file, layout, title="Soak", subtitle=subtitle) as (above, *below):
        titled(above, "Resident memory, MB")
        for worker in sorted({one.worker for one in report.samples}):
            own = [one for one in report.samples if one.worker == worker]
            name = "never killed" if worker == 0 else f"worker {worker}"
            minutes = [one.at_s / 60 for one in own]
            above.plot(minutes, [one.resident_mb for one in own], color=_COLOURS[worker % 3], linewidth=1.2, label=name)
        above.set_ylim(0)
        keyed(above)
        starts = [one.from_s / 60 for one in report.latencies]
        for axes, name in zip(below, ("p50", "p99"), strict=True):
            titled(axes, f"From the moment an input was due to its answer, {name}, ms")
            axes.plot(starts, [getattr(one, name) for one in report.latencies], color=PLAIN, marker="o", linewidth=1.2)
            axes.set_ylim(0)
        below[-1].set_xlabel("minute")
