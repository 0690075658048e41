from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import drift

from streamserve.baseline import Baseline, CategoricalBaseline, NumericBaseline
from streamserve.errors import ConfigurationError
from streamserve.monitoring.messages import DriftAlarm, DriftStatistics
from streamserve.monitoring.monitor import GroupMonitor
from streamserve.monitoring.plan import MonitorPlan
from streamserve.observer import Observer

BASELINE: Baseline = {
    "x": NumericBaseline(edges=(0.0, 2.0), counts=(50, 40, 10), count=100, nulls=0, mean=0.1, variance=1.0),
    "carrier": CategoricalBaseline(categories={"UA": 60, "AA": 40}, count=100, nulls=0),
}
WINDOW_MS = 1_000
ROWS = 3_000


def make_plan(**changes: Any) -> MonitorPlan:
    settings: dict[str, Any] = {
        "columns": {"x": float, "carrier": str, "late": bool},
        "window_ms": WINDOW_MS,
        "detectors": [
            drift.ADWIN(),
            drift.PageHinkley(threshold=20),
            drift.KSWIN(alpha=0.05),
            drift.binary.DDM(warm_start=10),
        ],
        "slices": ["origin"],
        "sample_every": {"KSWIN": 10},
    }
    return MonitorPlan("delay", **{**settings, **changes})


PLAN = make_plan()


def make_monitor(
    plan: MonitorPlan = PLAN, baseline: Baseline = BASELINE, observer: Observer | None = None
) -> GroupMonitor:
    return GroupMonitor(plan, partition=3, baselines=lambda _version: baseline, observer=observer)


def make_stream() -> tuple[dict[str, list[Any]], list[int]]:
    """Rows with a shift half way, missing values, and event times out of order."""
    rng = np.random.default_rng(8)
    shifted = np.arange(ROWS) > ROWS // 2
    x = np.where(rng.random(ROWS) < 0.1, np.nan, rng.normal(size=ROWS) + 3 * shifted)
    columns: dict[str, list[Any]] = {
        "x": [None if np.isnan(value) else value for value in x.tolist()],
        "carrier": [("UA", "AA", "ZZ", None)[place] for place in rng.integers(0, 4, size=ROWS).tolist()],
        "late": (rng.random(ROWS) < 0.1 + 0.6 * shifted).tolist(),
        "origin": rng.choice(["EWR", "JFK", "LGA"], size=ROWS).tolist(),
    }
    return columns, (np.arange(ROWS) + rng.integers(-150, 150, size=ROWS)).tolist()


COLUMNS, TIMES = make_stream()


class Run:
    """Feeds the stream in batches cut at ``cuts``; the watermark advances at fixed rows."""

    def __init__(self, plan: MonitorPlan = PLAN, restarts: Sequence[int] = (), commits: Sequence[int] = ()) -> None:
        self.monitor = make_monitor(plan)
        self.plan = plan
        self.restarts = set(restarts)
        self.commits = set(commits)
        self.statistics: list[DriftStatistics] = []
        self.alarms: list[DriftAlarm] = []

    def feed(self, cuts: Sequence[int], advances: Sequence[int] = (1_100, 2_200, ROWS)) -> Run:
        bounds = sorted({0, *cuts, *advances})
        for start, stop in pairwise(bounds):
            self.monitor.update({name: values[start:stop] for name, values in COLUMNS.items()}, TIMES[start:stop], "1")
            if stop in advances:
                self.statistics += self.monitor.advance(stop - 50)
            self.alarms += self.monitor.take_alarms()
            state = self.monitor.snapshot() if stop in self.restarts | self.commits else b""
            if stop in self.restarts:
                self.monitor = GroupMonitor.restore(state, self.plan, partition=3, baselines=lambda _version: BASELINE)
                assert self.monitor.discarded == ()
        return self

    def results(self) -> tuple[list[DriftStatistics], list[DriftAlarm], int]:
        return self.statistics + self.monitor.advance(10**9), self.alarms, self.monitor.late


REFERENCE = Run().feed([])
STATE = REFERENCE.monitor.snapshot()
RESULTS = REFERENCE.results()


def one(statistics: Sequence[DriftStatistics], column: str, slice_: str | None = None) -> DriftStatistics:
    [found] = [message for message in statistics if (message.column, message.slice) == (column, slice_)]
    return found


def test_the_stream_sets_off_every_detector_and_has_late_rows() -> None:
    statistics, alarms, late = RESULTS
    assert {(alarm.column, alarm.detector) for alarm in alarms} >= {
        ("x", "ADWIN"),
        ("x", "PageHinkley"),
        ("x", "KSWIN"),
    }
    assert ("late", "DDM") in {(alarm.column, alarm.detector) for alarm in alarms}
    assert late > 0
    assert len({message.window_start for message in statistics}) >= 3


@settings(max_examples=12, deadline=None)
@given(st.lists(st.integers(1, ROWS - 1), max_size=60))
def test_any_split_into_batches_gives_the_same_statistics_alarms_and_state(cuts: list[int]) -> None:
    run = Run().feed(cuts)
    assert run.monitor.snapshot() == STATE
    assert run.results() == RESULTS


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, ROWS - 1), min_size=1, max_size=40))
def test_a_snapshot_without_a_restart_changes_nothing(commits: list[int]) -> None:
    run = Run(commits=commits).feed(commits)
    assert run.monitor.snapshot() == STATE
    assert run.results() == RESULTS


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, ROWS - 1), min_size=2, max_size=20))
def test_a_restart_after_any_number_of_snapshots_changes_nothing(places: list[int]) -> None:
    run = Run(commits=places, restarts=[max(places)]).feed(places)
    assert run.monitor.snapshot() == STATE
    assert run.results() == RESULTS


@settings(max_examples=8, deadline=None)
@given(st.lists(st.integers(1, ROWS - 1), min_size=1, max_size=20))
def test_a_restart_anywhere_changes_nothing(restarts: list[int]) -> None:
    run = Run(restarts=restarts).feed(restarts)
    assert run.results() == RESULTS


def test_figures_are_those_of_numpy() -> None:
    monitor = make_monitor()
    monitor.update(COLUMNS, [5] * ROWS, "1")
    statistics = monitor.advance(WINDOW_MS)
    x = np.array(COLUMNS["x"], dtype=float)
    present = x[~np.isnan(x)]
    figures = one(statistics, "x")
    assert (figures.count, figures.nulls) == (len(present), ROWS - len(present))
    assert figures.mean == pytest.approx(present.mean())
    assert figures.variance == pytest.approx(present.var(ddof=1))
    assert (figures.minimum, figures.maximum) == (present.min(), present.max())
    assert figures.histogram is not None
    assert figures.histogram.counts == tuple(np.histogram(present, [-np.inf, 0.0, 2.0, np.inf])[0].tolist())
    for probability, quantile in figures.quantiles.items():
        assert np.mean(present <= quantile) == pytest.approx(probability, abs=0.015)


def test_slices_add_up_to_all_rows() -> None:
    statistics = RESULTS[0]
    first = [message for message in statistics if message.window_start == statistics[0].window_start]
    sliced = [one(first, "x", f"origin={name}") for name in ("EWR", "JFK", "LGA")]
    assert sum(message.count for message in sliced) == one(first, "x").count
    assert all(not message.quantiles and not message.detectors for message in sliced)


def test_categories_are_counted_with_their_stability_index() -> None:
    monitor = make_monitor()
    values = ["UA"] * 60 + ["AA"] * 40 + [None] * 7
    columns: dict[str, list[Any]] = {name: [None] * len(values) for name in COLUMNS}
    monitor.update({**columns, "carrier": values}, [5] * len(values), "1")
    figures = one(monitor.advance(WINDOW_MS), "carrier")
    assert (figures.count, figures.nulls, figures.other) == (100, 7, 0)
    assert figures.categories == {"UA": 60, "AA": 40}
    assert figures.psi == pytest.approx(0)


def test_a_window_names_its_bounds_in_utc_and_its_detectors() -> None:
    figures = one([message for message in RESULTS[0] if message.window_start.timestamp() == 1], "x")
    assert figures.window_end.timestamp() == 2
    assert figures.window_start.tzname() == "UTC"
    adwin, page_hinkley, kswin = figures.detectors
    assert (adwin.detector, page_hinkley.detector, kswin.detector) == ("ADWIN", "PageHinkley", "KSWIN")
    assert kswin.sample_every == 10
    assert {"width", "estimation"} <= set(adwin.figures)
    assert adwin.alarms_total >= adwin.alarms


def test_an_alarm_stands_at_its_row() -> None:
    for alarm in RESULTS[1]:
        assert round(alarm.event_time.timestamp() * 1000) == TIMES[alarm.ordinal]
        assert alarm.partition == 3
    ordinals = [alarm.ordinal for alarm in RESULTS[1]]
    assert ordinals == sorted(ordinals)


def test_rows_of_a_closed_window_are_late_and_still_seen_by_detectors() -> None:
    monitor = make_monitor()
    monitor.update({name: values[:10] for name, values in COLUMNS.items()}, [5] * 10, "1")
    monitor.advance(WINDOW_MS)
    monitor.update({name: values[:10] for name, values in COLUMNS.items()}, [6] * 9 + [WINDOW_MS], "1")
    figures = one(monitor.advance(2 * WINDOW_MS), "late")
    assert (figures.count, figures.late, monitor.late) == (1, 9, 9)
    assert figures.detectors[0].figures["width"] == 20


def test_another_version_closes_the_windows_and_starts_afresh_with_its_baseline() -> None:
    other: Baseline = {
        "x": NumericBaseline(edges=(5.0,), counts=(9, 1), count=10, nulls=0, mean=1.0, variance=1.0),
    }
    monitor = GroupMonitor(PLAN, partition=3, baselines=lambda version: {"1": BASELINE, "2": other}[version])
    head = {name: values[:20] for name, values in COLUMNS.items()}
    monitor.update(head, [5] * 20, "1")
    monitor.update(head, [6] * 20, "2")
    both = monitor.advance(WINDOW_MS)
    first, second = (one([message for message in both if message.version == version], "x") for version in "12")
    assert first.histogram is not None
    assert second.histogram is not None
    assert (first.histogram.edges, second.histogram.edges) == ((0.0, 2.0), (5.0,))
    assert first.count == second.count
    assert second.detectors[0].figures["width"] == second.count
    assert monitor.version == "2"


def test_a_change_of_version_keeps_what_the_watermark_closed() -> None:
    monitor = make_monitor()
    head = {name: values[:2] for name, values in COLUMNS.items()}
    monitor.update(head, [5] * 2, "1")
    monitor.advance(WINDOW_MS)
    monitor.update(head, [6] * 2, "2")
    assert monitor.advance(WINDOW_MS) == []
    monitor.advance(2 * WINDOW_MS)
    assert monitor.late == 2


def test_what_is_not_taken_survives_a_restart() -> None:
    run = Run()
    run.monitor.update(COLUMNS, TIMES, "1")
    run.monitor.update({name: values[:1] for name, values in COLUMNS.items()}, TIMES[:1], "2")
    again = GroupMonitor.restore(run.monitor.snapshot(), PLAN, partition=3, baselines=lambda _version: BASELINE)
    assert again.take_alarms() == run.monitor.take_alarms() != []
    assert again.advance(0) == run.monitor.advance(0) != []


def test_dirty_tells_whether_there_is_something_to_keep() -> None:
    monitor = make_monitor()
    assert not monitor.dirty
    monitor.update(COLUMNS, TIMES, "1")
    assert monitor.dirty
    monitor.snapshot()
    assert not monitor.dirty
    monitor.update({name: [] for name in COLUMNS}, [], "1")
    assert not monitor.dirty
    assert monitor.take_alarms()
    assert monitor.dirty


def test_a_refused_batch_leaves_nothing() -> None:
    monitor = make_monitor()
    monitor.update(COLUMNS, TIMES, "1")
    before = monitor.snapshot()
    with pytest.raises(ValueError, match="'carrier'"):
        monitor.update({**COLUMNS, "carrier": []}, TIMES, "1")
    assert monitor.snapshot() == before


def restored(plan: MonitorPlan, baseline: Baseline = BASELINE) -> GroupMonitor:
    return GroupMonitor.restore(STATE, plan, partition=3, baselines=lambda _version: baseline)


def test_a_detector_that_is_configured_differently_starts_afresh_and_the_rest_goes_on() -> None:
    detectors = [drift.ADWIN(delta=0.5), drift.PageHinkley(threshold=20)]
    monitor = restored(make_plan(detectors=detectors, sample_every=None))
    assert monitor.discarded == (
        "ADWIN on x: new or configured differently",
        "ADWIN on late: new or configured differently",
    )
    last = monitor.advance(10**9)[-len(PLAN.columns) * 4 :]
    adwin, page_hinkley = one(last, "x").detectors
    assert (adwin.figures["width"], adwin.alarms_total) == (0, 0)
    assert page_hinkley.alarms_total > 0


@pytest.mark.parametrize("change", [{"window_ms": 500}, {"slices": []}, {"columns": {"x": float, "late": bool}}])
def test_statistics_counted_otherwise_start_afresh(change: Mapping[str, Any]) -> None:
    monitor = restored(make_plan(**change))
    assert monitor.discarded == ("statistics: columns, slices, window length or baseline bins changed",)
    assert monitor.advance(10**9) == []


def test_statistics_on_other_bins_start_afresh() -> None:
    bins = NumericBaseline(edges=(1.0,), counts=(1, 1), count=2, nulls=0, mean=1.0, variance=1.0)
    assert restored(PLAN, {**BASELINE, "x": bins}).discarded[0].startswith("statistics")


def test_another_models_state_is_dropped() -> None:
    plan = MonitorPlan("other", {"x": float}, window_ms=1)
    monitor = GroupMonitor.restore(STATE, plan, partition=3, baselines=lambda _version: {})
    assert monitor.discarded[0].startswith("everything")
    assert monitor.version == ""


@pytest.mark.parametrize("state", [b"", b"no state", STATE[:-1], STATE[:200]])
def test_damaged_state_is_refused(state: bytes) -> None:
    with pytest.raises(ConfigurationError, match="Reset it to start afresh"):
        GroupMonitor.restore(state, PLAN, partition=3, baselines=lambda _version: BASELINE)


def test_the_observer_hears_of_windows_and_alarms() -> None:
    heard: list[tuple[str, str, str, str, int]] = []

    class Recorder(Observer):
        def drift_window(
            self, model: str, column: str, slice_: str, partition: int, statistics: Mapping[str, float | int | None]
        ) -> None:
            assert statistics["count"] is not None
            heard.append(("window", model, column, slice_, partition))

        def drift_alarm(self, model: str, column: str, detector: str, partition: int, event_time_ms: int) -> None:
            assert event_time_ms in TIMES
            heard.append(("alarm", model, column, detector, partition))

    monitor = make_monitor(observer=Recorder())
    monitor.update(COLUMNS, TIMES, "1")
    monitor.advance(10**9)
    assert {
        ("window", "delay", "x", "", 3),
        ("window", "delay", "x", "origin=EWR", 3),
        ("alarm", "delay", "x", "ADWIN", 3),
    } <= set(heard)


@pytest.mark.parametrize("time_ms", [253_402_300_800_000, -62_135_596_800_001, 1_700_000_000_000_000])
def test_a_time_that_no_datetime_holds_ends_nothing(time_ms: int) -> None:
    monitor = make_monitor()
    columns = {name: values[: ROWS // 2] + values[-ROWS // 2 :] for name, values in COLUMNS.items()}
    monitor.update(columns, [time_ms] * ROWS, "1")
    assert monitor.take_alarms()
    monitor.update({name: values[:1] for name, values in COLUMNS.items()}, [0], "2")
    assert monitor.advance(0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"window_ms": 0}, "at least"),
        ({"detector_columns": ["y"]}, "none of"),
        ({"columns": {"x": float}, "detectors": [drift.binary.DDM()], "sample_every": None}, "fit no column"),
    ],
)
def test_a_plan_that_cannot_work_is_refused(change: Mapping[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make_plan(**change)
