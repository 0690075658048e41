"""Pictures of a run, from what its topics say."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from topologies.flights.demo.plots.drift import draw_drift
from topologies.flights.demo.plots.history import History, baseline_of, read_history
from topologies.flights.demo.plots.quality import draw_quality
from topologies.flights.demo.plots.terminal import draw_terminal
from topologies.flights.demo.summary import Summary, held_out_metrics
from topologies.flights.training import RECIPES

__all__ = ["History", "draw_plots", "read_history"]


def draw_plots(history: History, summary: Summary, folder: Path) -> Sequence[Path]:
    """Draw ``terminal.svg``, ``drift.svg`` and ``quality.svg`` into ``folder``, which is made; return the files.

    A picture without data is left out: drift where no day is over, quality where no prediction has met its label.

    Raises:
        ConfigurationError: matplotlib is not installed.
    """
    found = summary.verification
    folder.mkdir(parents=True, exist_ok=True)
    files = [folder / "terminal.svg"]
    draw_terminal(files[-1], summary)
    if history.statistics:
        files.append(folder / "drift.svg")
        draw_drift(files[-1], history.statistics, found.alarms, baseline_of(history.version))
    if found.outcomes.scores:
        files.append(folder / "quality.svg")
        held_out, learned = held_out_metrics(history.version)["auc"], _learned_months(history.version)
        draw_quality(files[-1], found.outcomes, history.reports, held_out=held_out, learned=learned)
    return files


def _learned_months(version: str) -> Sequence[str]:
    return [f"2013-{month:02}" for recipe in RECIPES if recipe.version == version for month in recipe.months]
