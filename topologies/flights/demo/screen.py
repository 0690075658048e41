"""What the demo shows on the terminal while it runs."""

from __future__ import annotations

import time
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from topologies.flights.demo.replay import Replay
from topologies.flights.demo.watch import Watch

__all__ = ["Screen"]

_REFRESH_S = 0.25
_LINE_S = 5.0
_SHOWN_ALARMS = 3


class Screen:
    """Stages one after the other, and a table that lives while flights are scored; on no terminal, a line at times."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live: Live | None = None
        self._drawn_at = 0.0

    @contextmanager
    def stage(self, what: str) -> Generator[None]:
        """Show that something is being done, and how long it took."""
        began = time.monotonic()
        with self._console.status(f"{what} ..."):
            yield
        self.note(f"{what} ({time.monotonic() - began:.1f} s)")

    def note(self, text: str) -> None:
        """Show a line that stays."""
        self._console.print(text, highlight=False, markup=False, soft_wrap=True)

    @contextmanager
    def watching(self) -> Generator[None]:
        """Show the table that ``draw`` fills."""
        if not self._console.is_terminal:
            yield
            return
        with Live(console=self._console, auto_refresh=False) as live:
            self._live = live
            yield
        self._live = None

    def draw(self, replay: Replay, watch: Watch, events: int, kills: int, *, last: bool = False) -> None:
        """Show how far it is: a few times a second, on no terminal every few seconds; the ``last`` time for sure."""
        pause = _REFRESH_S if self._live is not None else _LINE_S
        if not last and time.monotonic() - self._drawn_at < pause:
            return
        self._drawn_at = time.monotonic()
        if self._live is not None:
            self._live.update(_table(replay, watch, events, kills), refresh=True)
        else:
            self.note(f"{watch.progress.answered:,} of {events:,} flights answered, {watch.per_second:,.0f} a second")


def _table(replay: Replay, watch: Watch, events: int, kills: int) -> Table:
    progress = watch.progress
    score = progress.score
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(style="dim")
    table.add_column()
    table.add_row("answered", ProgressBar(total=events, completed=progress.answered, width=50))
    table.add_row("flights in", f"{replay.sent['flights']:,} of {events:,}; {replay.sent.total():,} records")
    table.add_row("predictions", f"{progress.predictions:,}, {watch.per_second:,.0f} a second")
    table.add_row("latency", _seconds(watch.latency_s))
    table.add_row("dead letters", ", ".join(f"{n} of {topic}" for topic, n in progress.dead_letters.items()) or "none")
    latest = ", ".join(f"{alarm.date} {alarm.column}" for alarm in progress.alarms[-_SHOWN_ALARMS:])
    table.add_row("drift alarms", f"{len(progress.alarms)}" + (f", latest {latest}" if latest else ""))
    table.add_row("live quality", _quality(score.auc, score.log_loss, score.right_share))
    if kills:
        table.add_row("killed", f"{kills} times")
    return table


def _seconds(latency_s: float | None) -> str:
    return "-" if latency_s is None else f"{latency_s * 1000:,.0f} ms (queueing included)"


def _quality(auc: float | None, log_loss: float | None, right: float | None) -> str:
    if auc is None or log_loss is None or right is None:
        return "waiting for arrivals"
    return f"AUC {auc:.3f}, log loss {log_loss:.3f}, {right:.1%} right (last 10,000 arrivals)"
