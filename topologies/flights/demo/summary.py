"""What a run comes to: the counts, the quality by month, the drift, as JSON and for reading."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from streamserve.testing.checks import Report
from topologies.flights.demo.latency import Latency
from topologies.flights.demo.verify import Verification
from topologies.flights.demo.watch import Alarm
from topologies.flights.reference import MODELS
from topologies.flights.report import MonthReport, by_month

__all__ = ["Summary", "held_out_metrics"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """A whole run: ``events`` flights were sent and took ``seconds`` to be answered, with ``kills`` workers killed."""

    events: int
    kills: int
    seconds: float
    verification: Verification
    latency: Latency | None

    @property
    def _reports(self) -> tuple[Report, ...]:
        return self.verification.flights, self.verification.weather, self.verification.departures

    @property
    def lost(self) -> int:
        """Records without an outcome, be it that they were never consumed."""
        found = self.verification
        unread = sum(report.inputs - report.committed for report in (found.weather, found.departures))
        return sum(report.lost for report in self._reports) + self.events - found.flights.committed + unread

    @property
    def duplicated(self) -> int:
        """Outcomes beyond the one that a record may have."""
        return sum(report.duplicated for report in self._reports)

    @property
    def disordered(self) -> int:
        """Anomalies of other kinds: reordered, torn, premature and phantom outcomes."""
        return sum(report.anomalies - report.lost - report.duplicated for report in self._reports)

    @property
    def dead_letters(self) -> int:
        """Flights that became dead letters."""
        return self.verification.flights.dead_letters

    @property
    def predictions(self) -> int:
        """Predictions on the topic, repeated ones included."""
        return self.verification.flights.outcomes - self.dead_letters

    @property
    def good(self) -> bool:
        """Return whether every record had its one outcome, and every prediction is what its logged row says.

        Rolling delays have to agree with the independent computation where they were compared.
        """
        found = self.verification
        wrong = self.lost or self.duplicated or self.disordered or found.mismatched or found.misrolled or self.misjudged
        return not wrong and self.predictions + self.dead_letters == self.events

    @property
    def misjudged(self) -> int:
        """Flights judged otherwise than predictions and arrivals say, and reports that say otherwise than matches."""
        found = self.verification
        return found.outcomes.count_mismatches(found.probabilities, found.labels) + found.quality.misreported

    @property
    def months(self) -> list[MonthReport]:
        """Quality by month, judged by the arrivals that were replayed."""
        return by_month(self.verification.probabilities, self.verification.labels)

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data for JSON; rates are per second, latencies in milliseconds, log loss in nats.

        ``live_auc`` is what the app has reported by then, of months that are settled; months there are UTC's.
        """
        found, months = self.verification, self.months
        return {
            "events": self.events,
            "records": sum(found.records.values()),
            "records_by_topic": dict(found.records),
            "predictions": self.predictions,
            "dead_letters": self.dead_letters,
            "dead_letters_by_topic": dict(found.dead_letters),
            "lost": self.lost,
            "duplicated": self.duplicated,
            "disordered": self.disordered,
            "mismatched": found.mismatched,
            "misrolled": found.misrolled,
            "misjudged": self.misjudged,
            "outcomes": dict(found.outcomes.counts),
            "kills": self.kills,
            "seconds": round(self.seconds, 2),
            "events_per_second": round(self.events / self.seconds, 1),
            "latency_ms": None if self.latency is None else self.latency.as_dict(),
            "drift_alarms": [_alarm(each) for each in _by_date(found.alarms)],
            "log_loss": {each.month: _rounded(each.log_loss) for each in months},
            "auc": {each.month: _rounded(each.auc) for each in months},
            "live_auc": {month: _rounded(each) for month, each in found.quality.live_auc.items()},
            "live_auc_recomputed": {month: _rounded(each) for month, each in found.quality.recomputed_auc.items()},
            "held_out": {version: held_out_metrics(version) for version in sorted(found.versions)},
        }

    def as_json(self) -> str:
        """Return one line."""
        return json.dumps(self.as_dict())

    def print(self, console: Console) -> None:
        """Print it for reading."""
        console.print(Group(*self._parts()))

    def _parts(self) -> Iterator[RenderableType]:
        yield ""
        yield self._verdict()
        yield _counts(self)
        yield ""
        yield _quality(self.months, self.verification)
        yield ""
        yield _next_steps()

    def _verdict(self) -> Text:
        if self.good:
            after = f" after {self.kills} SIGKILL{'s' * (self.kills != 1)}" if self.kills else ""
            return Text(f"Every record had exactly one outcome{after}.", style="bold green")
        return Text("The topics are not as they should be: see the counts.", style="bold red")


def held_out_metrics(version: str) -> dict[str, float]:
    """Return AUC and log loss of a version on the month that it was held out on, from its package."""
    manifest = json.loads((MODELS / "delay" / version / "manifest.json").read_bytes())
    return {name: round(manifest["metrics"][name], 4) for name in ("auc", "log_loss")}


def _counts(summary: Summary) -> Table:
    found, latency = summary.verification, summary.latency
    table = Table(show_header=False, box=None, padding=(0, 2))
    table.add_column(justify="right")
    table.add_column()
    table.add_row(f"{summary.events:,}", f"flights in, of {sum(found.records.values()):,} records on all topics")
    table.add_row(f"{summary.predictions:,}", "predictions")
    table.add_row(f"{summary.dead_letters:,}", f"dead letters of flights ({_elsewhere(found.dead_letters)})")
    table.add_row(f"{summary.lost:,}", "lost")
    table.add_row(f"{summary.duplicated:,}", "duplicated")
    table.add_row(f"{summary.disordered:,}", "reordered, torn, premature or phantom")
    table.add_row(f"{found.mismatched:,}", "predictions that are not the offline score of their logged features")
    if found.misrolled is not None:
        table.add_row(f"{found.misrolled:,}", "rolling delays that an independent computation has otherwise")
    table.add_row(
        f"{summary.misjudged:,}", f"judged otherwise than the arrivals say ({_statuses(found.outcomes.counts)})"
    )
    table.add_row(f"{summary.events / summary.seconds:,.0f}", f"flights a second, for {summary.seconds:.1f} s")
    if latency is not None:
        quantiles = f"{latency.p50:.1f} / {latency.p95:.1f} / {latency.p99:.1f}"
        table.add_row(quantiles, "ms from flight to prediction at 1,000 flights a second (p50 / p95 / p99)")
    return table


def _elsewhere(dead_letters: Mapping[str, int]) -> str:
    others = [f"{count} of {topic}" for topic, count in sorted(dead_letters.items()) if topic != "flights"]
    return ", ".join(others) or "none of others"


def _statuses(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {status}" for status, count in sorted(counts.items())) or "none judged"


def _quality(months: Sequence[MonthReport], found: Verification) -> Table:
    live_auc = found.quality.live_auc
    alarms = _alarms_by_month(found.alarms)
    table = Table(title="Quality and drift by month, judged by the arrivals", title_justify="left")
    for name in ("month", "predictions", "judged", "late", "AUC", "live AUC", "log loss", "drift alarms"):
        table.add_column(name, justify="left" if name in {"month", "drift alarms"} else "right")
    for each in months:
        share = "-" if each.late_share is None else f"{each.late_share:.1%}"
        figures = (share, _figure(each.auc), _figure(live_auc.get(each.month)), _figure(each.log_loss))
        table.add_row(each.month, f"{each.predictions:,}", f"{each.labelled:,}", *figures, alarms.get(each.month, "-"))
    table.add_section()
    for version in sorted(found.versions):
        metrics = held_out_metrics(version)
        table.add_row(f"held out ({version})", "", "", "", _figure(metrics["auc"]), "", _figure(metrics["log_loss"]))
    return table


def _alarms_by_month(alarms: Sequence[Alarm]) -> dict[str, str]:
    """Return how many alarms each detector raised, by month (UTC); ``--json`` and ``--plots`` say when and of what."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter[str])
    for alarm in alarms:
        counts[alarm.date[:7]][alarm.detector] += 1
    return {
        month: ", ".join(f"{number} {detector}" for detector, number in sorted(found.items()))
        for month, found in counts.items()
    }


def _next_steps() -> Text:
    lines = (
        "Where to look next:",
        "  topologies/flights/app.py is the whole topology, its README.md the data and the models",
        "  streamserve graph topologies.flights.app:app draws it",
        "  streamserve demo --chaos 3 kills its workers, --plots FOLDER draws drift and quality",
        "  streamserve demo --brokers HOST:PORT leaves its topics on a broker of yours",
    )
    return Text("\n".join(lines), style="dim")


def _by_date(alarms: Sequence[Alarm]) -> list[Alarm]:
    return sorted(alarms, key=lambda each: (each.date, each.column, each.detector, each.partition))


def _alarm(alarm: Alarm) -> dict[str, object]:
    return {"date": alarm.date, "column": alarm.column, "detector": alarm.detector, "partition": alarm.partition}


def _rounded(figure: float | None) -> float | None:
    return None if figure is None else round(figure, 4)


def _figure(figure: float | None) -> str:
    return "-" if figure is None else f"{figure:.3f}"
