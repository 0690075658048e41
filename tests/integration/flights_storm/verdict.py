"""Everything that is judged at the end: delivery, predictions, windows, labels, metrics, drift, changelogs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from streamserve.testing.checks import Report, check_app
from tests.integration.flights_storm.changelogs import fold_plain
from tests.integration.flights_storm.drift import judge_drift, read_drift
from tests.integration.flights_storm.findings import Finding, compare
from tests.integration.flights_storm.labels import judge_labels
from tests.integration.flights_storm.metric_state import Folded, judge_metric_state
from tests.integration.flights_storm.metrics import WITHIN_MS, judge_reports
from tests.integration.flights_storm.offsets import Place, Stand, watermarks_of
from tests.integration.flights_storm.outcomes import month_of, read_performance
from tests.integration.flights_storm.scored import manifest_of, read_scored
from tests.integration.flights_storm.snapshot import judge_state
from tests.integration.flights_storm.state_record import read_state
from tests.integration.flights_storm.windows import judge_activity, judge_rolling
from topologies.flights.demo.verify import verify
from topologies.flights.rolling import rolling_rows
from topologies.flights.training import CHAMPION
from topologies.flights.year import Flights

__all__ = ["Verdict", "judge"]

_REGROUPED = "activity-flights-by-tailnum-regrouped"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The findings, and the number of label outcomes by status."""

    findings: list[Finding]
    statuses: Mapping[str, int]


def judge(
    brokers: str, year: Flights, count: int, newest_ms: Mapping[Place, int], stands: Mapping[str, Stand]
) -> Verdict:
    """Read all topics back and compare them with what the first ``count`` flights of the year come to.

    ``newest_ms`` has the newest event time of the inputs; ``stands`` is where the apps' groups stand.
    """
    flights, activity = stands["flights"], stands["activity"]
    origins = watermarks_of(flights, "departures")
    arrivals = watermarks_of(flights, "arrivals")
    hourly = watermarks_of(activity, "departures")
    rotations = watermarks_of(activity, _REGROUPED)
    outcomes = fold_plain(brokers, "flights-outcomes-changelog")
    labels = judge_labels(brokers, arrivals, outcomes)
    findings = [
        *_judge_delivery(brokers, year, count),
        *judge_rolling(brokers, year, count, origins),
        *labels.findings,
        *_judge_metrics(brokers, outcomes, arrivals),
        *_judge_monitoring(brokers, origins),
        *judge_activity(brokers, year, count, hourly, rotations),
        compare("event time of flights", _newest(newest_ms, "weather", "departures", "flights"), origins),
        compare("event time of departures", _newest(newest_ms, "departures"), hourly),
        _within("event time of labels", arrivals, newest_ms, ("arrivals", "flights")),
        _within("event time of aircraft", rotations, newest_ms, ("flights",)),
    ]
    return Verdict(findings, labels.statuses)


def _judge_delivery(brokers: str, year: Flights, count: int) -> Iterator[Finding]:
    found = verify(brokers, {"flight_id": year.flight_id, **rolling_rows(year)})
    predictions = len(found.probabilities)
    yield Finding("flights without an outcome", count, count - predictions - found.flights.dead_letters)
    yield from _delivered("flights", found.flights)
    yield from _delivered("departures", found.departures)
    yield from _delivered("weather", found.weather)
    for topic in ("departures", "flights"):
        yield from _delivered(f"{topic} for activity", _taken_in(brokers, topic))
    yield Finding("predictions that are not the offline score of their row", predictions, found.mismatched)
    yield Finding("rolling delays that flights saw", predictions, found.misrolled or 0)


def _judge_metrics(brokers: str, changelog: Folded, watermarks: Mapping[int, int]) -> Iterator[Finding]:
    """Judge what is told of the quality of predictions, and what is kept of it."""
    performance = read_performance(brokers)
    settled = {partition: month_of(time_ms - WITHIN_MS) - 1 for partition, time_ms in watermarks.items()}
    yield from judge_reports(performance, settled)
    yield from judge_metric_state(changelog, performance, settled)


def _judge_monitoring(brokers: str, watermarks: Mapping[int, int]) -> Iterator[Finding]:
    """Judge what is told of drift, and what is kept for it."""
    scored, baseline = read_scored(brokers, CHAMPION), manifest_of(CHAMPION)["baseline"]
    states = read_state(brokers)
    closed = {partition: each.state.closed_through for partition, each in states.items()}
    yield from judge_drift(read_drift(brokers), scored, CHAMPION, baseline, closed)
    yield from judge_state(states, scored, CHAMPION, baseline, watermarks)


def _taken_in(brokers: str, topic: str) -> Report:
    return check_app(
        brokers,
        group="activity",
        input_topics=[topic],
        output_topics=[],
        dead_letter_topic="activity-dead-letters",
        filtering=True,
    )


def _delivered(what: str, report: Report) -> Iterator[Finding]:
    yield Finding(f"{what}: lost", report.inputs, report.lost + report.inputs - report.committed)
    yield Finding(f"{what}: duplicated", report.inputs, report.duplicated)
    others = report.anomalies - report.lost - report.duplicated
    yield Finding(f"{what}: reordered, torn, premature or phantom", report.inputs, others)


def _newest(newest_ms: Mapping[Place, int], *topics: str) -> dict[int, int]:
    """Return the newest time of the topics by partition."""
    found: dict[int, int] = {}
    for (topic, partition), time_ms in newest_ms.items():
        if topic in topics:
            found[partition] = max(time_ms, found.get(partition, time_ms))
    return found


def _within(
    what: str, watermarks: Mapping[int, int], newest_ms: Mapping[Place, int], topics: tuple[str, ...]
) -> Finding:
    """Judge times that depend on who was idle first: they lie between the newest of the partitions that feed them."""
    fed = [time_ms for (topic, _), time_ms in newest_ms.items() if topic in topics]
    low, high = min(fed), max(fed)
    wrong = {partition: time_ms for partition, time_ms in watermarks.items() if not low <= time_ms <= high}
    return Finding(what, len(watermarks), len(wrong), tuple(f"partition {p} at {at}" for p, at in wrong.items()))
