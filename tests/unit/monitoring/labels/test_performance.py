from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from river import metrics

from streamserve.errors import ConfigurationError
from streamserve.monitoring.labels.entries import Label, Outcome, Predicted
from streamserve.monitoring.labels.group import GroupLabels
from streamserve.monitoring.labels.messages import PerformanceReport
from streamserve.monitoring.labels.performance import PerformanceMetrics
from streamserve.monitoring.labels.plan import DAY_MS, PerformancePlan
from streamserve.monitoring.labels.scopes import MAX_VALUES
from streamserve.records import to_datetime

PLAN = PerformancePlan(within_ms=100, window=1_000, slices=("origin",))


def matched(
    time_ms: int, score: float, truth: bool, *, version: str = "1", role: str = "champion", origin: str | None = "JFK"
) -> Outcome:
    prediction = Predicted(time_ms, score, "delay", version, role, (origin,))
    return Outcome("matched", b"k", prediction, Label(time_ms + 7, truth))


def by_scope(reports: Sequence[PerformanceReport]) -> dict[tuple[str | None, str | None], PerformanceReport]:
    return {(report.version, report.slice): report for report in reports}


Log = tuple[list[bytes], list[bytes | None]]


def restored(plan: PerformancePlan, log: Sequence[Log]) -> PerformanceMetrics:
    measured = PerformanceMetrics(plan, partition=0)
    for keys, values in log:
        measured.load(keys, values)
    measured.loaded()
    return measured


def test_metrics_are_overall_by_version_and_by_slice() -> None:
    measured = PerformanceMetrics(PLAN, partition=3)
    measured.update(
        [
            matched(1, 0.9, truth=True),
            matched(2, 0.8, truth=False, version="2", origin="LGA"),
            matched(3, 0.7, truth=True, origin=None),
        ]
    )
    found = by_scope(measured.report())
    accuracy = {scope: report.metrics["Accuracy"] for scope, report in found.items()}
    assert accuracy == {
        (None, None): pytest.approx(2 / 3),
        ("1", None): 1,
        ("2", None): 0,
        (None, "origin=JFK"): 1,
        (None, "origin=LGA"): 0,
        (None, "origin=null"): 1,
    }
    assert (found[None, None].pairs, found[None, None].partition) == (3, 3)
    assert found[None, None].calibration


def test_shadows_count_for_their_version_only() -> None:
    measured = PerformanceMetrics(PLAN, partition=0)
    measured.update([matched(1, 0.9, truth=True, version="2", role="shadow")])
    assert list(by_scope(measured.report())) == [("2", None)]


def test_every_status_is_counted_and_only_matches_are_measured() -> None:
    measured = PerformanceMetrics(replace(PLAN, slices=()), partition=0)
    prediction, label = Predicted(50, 0.2, "delay", "1"), Label(0, truth=False)
    measured.update(
        [
            Outcome("matched", b"k", prediction, label),
            Outcome("repeated", b"k", prediction, label),
            Outcome("late", b"k", prediction, label),
            Outcome("unlabelled", b"k", prediction, None),
            Outcome("unpredicted", b"k", None, label),
        ]
    )
    reports = {report.model: report for report in measured.report() if report.version is None}
    expected = {"early": 1, "late": 1, "matched": 1, "repeated": 1, "unlabelled": 1}
    assert (reports["delay"].counts, reports["delay"].pairs) == (expected, 1)
    assert (reports[None].counts, reports[None].metrics) == ({"unpredicted": 1}, {})


def test_a_window_closes_when_its_last_prediction_is_settled() -> None:
    measured = PerformanceMetrics(PLAN, partition=0)
    measured.update([matched(999, 0.9, truth=True), matched(1_000, 0.1, truth=True)])
    assert measured.advance(1_099) == []
    reports = measured.advance(1_100)
    window = [report for report in reports if report.window_start is not None]
    assert {(one.window_start, one.window_end) for one in window} == {(to_datetime(0), to_datetime(1_000))}
    assert [one.pairs for one in window] == [1, 1, 1]
    assert [one.pairs for one in reports if one.window_start is None] == [2, 2, 2]
    assert measured.report() == []


def test_outcomes_after_the_close_are_in_no_window_but_in_the_running_metrics() -> None:
    measured = PerformanceMetrics(PLAN, partition=0)
    measured.advance(5_000)
    measured.update([matched(10, 0.9, truth=True)])
    assert measured.advance(50_000) == []
    assert by_scope(measured.report())[None, None].after_close == 1


def test_windows_can_be_calendar_months() -> None:
    plan = PerformancePlan(within_ms=0, window="month")
    measured = PerformanceMetrics(plan, partition=0)
    measured.update([matched(31 * DAY_MS - 1, 0.9, truth=True), matched(31 * DAY_MS, 0.9, truth=True)])
    window = measured.advance(60 * DAY_MS)[0]
    assert (window.window_start, window.window_end, window.pairs) == (to_datetime(0), to_datetime(31 * DAY_MS), 1)
    assert plan.start_of(plan.window_of(-1)) == -31 * DAY_MS


def test_slices_are_bounded_also_after_a_restore() -> None:
    measured, log = PerformanceMetrics(PLAN, partition=0), list[Log]()
    for part in range(2):
        measured.update([matched(1, 0.5, truth=True, origin=str(part * 40 + place)) for place in range(40)])
        log.append(measured.take_changes())
        measured = restored(PLAN, log)
    names = [report.slice for report in measured.report() if report.slice is not None]
    assert len(names) == MAX_VALUES + 1
    assert "origin=other" in names


outcomes = st.lists(
    st.builds(
        matched,
        st.integers(0, 3_000),
        st.floats(0, 1),
        truth=st.booleans(),
        version=st.sampled_from("12"),
        role=st.sampled_from(["champion", "shadow"]),
        origin=st.sampled_from(["JFK", None]),
    ),
    max_size=30,
)


@given(outcomes, st.lists(st.integers(0, 30), max_size=5))
def test_batches_and_restores_leave_no_trace_in_reports(given_outcomes: list[Outcome], cuts: list[int]) -> None:
    once = PerformanceMetrics(PLAN, partition=0)
    once.update(given_outcomes)
    split, log = PerformanceMetrics(PLAN, partition=0), list[Log]()
    bounds = [0, *sorted(cuts), 30]
    for start, stop in pairwise(bounds):
        split.update(given_outcomes[start:stop])
        log.append(split.take_changes())
        split = restored(PLAN, log)
    assert split.advance(2_150) == once.advance(2_150)
    log.append(split.take_changes())
    split = restored(PLAN, log)
    late = [matched(5, 0.5, truth=True)]
    once.update(late)
    split.update(late)
    assert split.advance(9_000) == once.advance(9_000)
    assert split.report() == once.report()


def test_what_was_made_under_another_configuration_starts_afresh_and_is_named() -> None:
    measured = PerformanceMetrics(PLAN, partition=0)
    measured.update([matched(1, 0.9, truth=True)])
    log = [measured.take_changes()]
    other = replace(PLAN, window=500, slices=("carrier",), metrics=[metrics.MCC()])
    again = restored(other, log)
    assert again.discarded == ("slices by origin: no slice column any more", "windows: their length changed")
    found = by_scope(again.report())
    assert list(found) == [(None, None), ("1", None)]
    assert {"Accuracy": 1.0, "MCC": 0.0}.items() <= found[None, None].metrics.items()
    assert again.advance(9_000) == []
    _, values = again.take_changes()
    assert values.count(None) == len(log[0][0]) - len(found)


def test_an_unknown_format_is_refused() -> None:
    measured = PerformanceMetrics(PLAN, partition=0)
    measured.update([matched(1, 0.9, truth=True)])
    keys, _ = measured.take_changes()
    with pytest.raises(ConfigurationError, match="format version 9"):
        restored(PLAN, [(keys[:1], [b"\x09"])])


def play(plan: PerformancePlan, *, restore: bool) -> tuple[list[Outcome], list[PerformanceReport], dict[bytes, bytes]]:
    """Play 4,000 predictions, nine in ten labelled, with a commit and perhaps a restore after each 50."""
    rng = np.random.default_rng(1)
    group, log = GroupLabels(plan, partition=0), dict[bytes, bytes | None]()
    found: list[Outcome] = []
    reports: list[PerformanceReport] = []
    for start in range(0, 4_000, 50):
        keys = [str(start + place).encode() for place in range(50)]
        scores: list[float] = rng.random(50).tolist()
        found += group.predict(keys, [Predicted(start, score, "delay", "1") for score in scores])
        found += group.label(keys[:45], [Label(start + 20, truth=score > 0.4) for score in scores[:45]])
        settled, due = group.advance(start)
        found, reports = found + settled, reports + due
        log.update(zip(*group.take_changes(), strict=True))
        if restore:
            group = GroupLabels(plan, partition=0)
            group.load(list(log), list(log.values()))
            group.loaded()
    return found, reports, {key: value for key, value in log.items() if value is not None}


def test_a_group_survives_restores_after_every_batch() -> None:
    found, reports, log = play(PLAN, restore=False)
    assert play(PLAN, restore=True) == (found, reports, log)
    windows = [report for report in reports if report.window_start is not None and report.version is None]
    assert [report.counts for report in windows] == [{"matched": 900, "unlabelled": 100}] * 3


def test_the_matcher_is_imported_without_rivers_metrics() -> None:
    program = "import sys, streamserve.monitoring.labels.group; sys.exit('river.metrics' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0
