"""The judge of reports and of metrics in the changelog: content with what a label join writes, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest

from streamserve.monitoring.labels.entries import Label, Predicted
from streamserve.monitoring.labels.group import GroupLabels
from streamserve.monitoring.labels.messages import encode_matches
from streamserve.monitoring.labels.plan import PerformancePlan
from tests.integration.flights_storm.findings import Finding
from tests.integration.flights_storm.metric_state import judge_metric_state, read_metrics
from tests.integration.flights_storm.metrics import WITHIN_MS, judge_reports
from tests.integration.flights_storm.outcomes import Outcome, Performance, Report, Scope, month_of

BEGIN = int(datetime(2013, 1, 29, tzinfo=UTC).timestamp() * 1000)
HOUR_MS = 3_600_000
FLIGHTS = 300
PARTITION = 2

decode = msgspec.json.Decoder(Outcome | Report).decode


@dataclass(frozen=True)
class Written:
    """What a label join wrote, what its changelog holds, and which month is settled."""

    performance: Performance
    changelog: dict[tuple[int, bytes], bytes]
    settled: dict[int, int]


@pytest.fixture(scope="module", params=[1, 13])
def written(request: pytest.FixtureRequest) -> Written:
    """A flight an hour; a label after ten, for some a second one, for others none, or only when it was given up."""
    plan = PerformancePlan(within_ms=WITHIN_MS, window="month")
    chance = np.random.default_rng(1)
    group = GroupLabels(plan, partition=PARTITION)
    values: list[bytes] = []
    changelog: dict[bytes, bytes] = {}
    labels: dict[int, list[tuple[bytes, Label]]] = {}
    for hour in range(FLIGHTS):
        key, at = b"%d" % hour, BEGIN + hour * HOUR_MS
        outcomes = group.predict([key], [Predicted(at, float(chance.random()), "delay", "3")])
        first = 10 if hour % 9 else 74
        for after in (first, first + 66) if hour % 5 == 0 else (first,) if hour % 7 else ():
            labels.setdefault(hour + after, []).append((key, Label(at + after * HOUR_MS, bool(chance.random() < 0.4))))
        labels.setdefault(hour, []).extend([(b"x%d" % hour, Label(at, truth=True))] if hour % 40 == 0 else [])
        for known, label in labels.pop(hour, []):
            outcomes += group.label([known], [label])
        if hour % request.param == 0 or hour == FLIGHTS - 1:  # a batch ends, and a worker is killed
            expired, reports = group.advance(at)
            values += [*encode_matches(outcomes), *encode_matches(expired)]
            values += [report.model_dump_json().encode() for report in reports]
            group = restored(group, plan, changelog)
        else:
            values += encode_matches(outcomes)
    messages = [decode(value) for value in values]
    told = [each for each in messages if isinstance(each, Outcome)]
    reports = [each for each in messages if isinstance(each, Report)]
    folded = {(PARTITION, key): value[1:] for key, value in changelog.items()}
    settled = month_of(BEGIN + (FLIGHTS - 1) * HOUR_MS - WITHIN_MS) - 1
    return Written(Performance({PARTITION: told}, {PARTITION: reports}), folded, {PARTITION: settled})


def restored(group: GroupLabels, plan: PerformancePlan, changelog: dict[bytes, bytes]) -> GroupLabels:
    """Return what goes on where the group is, from its changelog."""
    for key, value in zip(*group.take_changes(), strict=True):
        if value is None:
            changelog.pop(key, None)
        else:
            changelog[key] = value
    fresh = GroupLabels(plan, partition=PARTITION)
    fresh.load(list(changelog), list(changelog.values()))
    fresh.loaded()
    return fresh


def test_a_label_that_comes_when_its_month_is_settled_is_in_the_report_or_counted_apart(written: Written) -> None:
    outcomes, reports = written.performance.outcomes[PARTITION], written.performance.reports[PARTITION]
    [month] = [report for report in reports if report.month == 516 and report.version == "3"]
    known = [each for each in outcomes if each.version == "3" and each.month == 516]
    stored = {at: figures for _, at, figures in read_metrics(written.changelog)}
    after_close = stored[None, Scope("delay")]["after_close"]
    assert after_close > 0
    assert month.outcomes + after_close == len(known)


def judged(outcomes: Sequence[Outcome], reports: Sequence[Report], settled: dict[int, int]) -> list[str]:
    return wrong(list(judge_reports(Performance({PARTITION: outcomes}, {PARTITION: reports}), settled)))


def wrong(findings: Sequence[Finding]) -> list[str]:
    assert all(finding.compared for finding in findings)
    return [finding.what for finding in findings if finding.differing]


def test_what_a_label_join_writes_is_right_however_often_it_was_killed(written: Written) -> None:
    outcomes, reports = written.performance.outcomes[PARTITION], written.performance.reports[PARTITION]
    assert {outcome.status for outcome in outcomes} >= {"matched", "repeated", "late", "unlabelled", "unpredicted"}
    assert {(report.month, report.version) for report in reports} >= {(516, None), (516, "3"), (None, "3")}
    assert judged(outcomes, reports, written.settled) == []
    assert wrong(list(judge_metric_state(written.changelog, written.performance, written.settled))) == []


@pytest.mark.parametrize("metric", ["Accuracy", "Precision", "Recall", "F1", "LogLoss", "CalibrationError", "ROCAUC"])
@pytest.mark.parametrize("month", [516, None])
def test_a_metric_that_is_off_is_found(written: Written, metric: str, month: int | None) -> None:
    reports = [*written.performance.reports[PARTITION]]
    place = next(place for place, each in enumerate(reports) if each.month == month and each.metrics)
    metrics = {**reports[place].metrics, metric: reports[place].metrics[metric] + 0.0011}
    reports[place] = msgspec.structs.replace(reports[place], metrics=metrics)
    what = "metrics since the beginning" if month is None else "metrics by month"
    assert judged(written.performance.outcomes[PARTITION], reports, written.settled) == [what]


def test_a_report_that_is_missing_or_told_twice_is_found(written: Written) -> None:
    outcomes, reports = written.performance.outcomes[PARTITION], written.performance.reports[PARTITION]
    assert judged(outcomes, reports[1:], written.settled) == ["metrics by month"]
    assert judged(outcomes, [*reports, reports[-1]], written.settled) == ["metrics told twice"]


@pytest.mark.parametrize("dropped", [0, 40])
def test_an_outcome_that_metrics_count_and_the_topic_has_not_is_found(written: Written, dropped: int) -> None:
    outcomes = [*written.performance.outcomes[PARTITION]]
    del outcomes[dropped]
    assert "metrics by month" in judged(outcomes, written.performance.reports[PARTITION], written.settled)


def test_metrics_of_the_changelog_that_took_in_another_outcome_are_found(written: Written) -> None:
    outcomes = [*written.performance.outcomes[PARTITION]]
    matched = max(place for place, each in enumerate(outcomes) if each.status == "matched")
    outcomes[matched] = msgspec.structs.replace(outcomes[matched], truth=not outcomes[matched].truth)
    others = Performance({PARTITION: outcomes}, written.performance.reports)
    found = wrong(list(judge_metric_state(written.changelog, others, written.settled)))
    assert found == ["fold of flights-outcomes-changelog: metrics"]
