"""Pictures of a run, drawn from a few days of small figures."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from math import log
from pathlib import Path

import pytest

from streamserve.errors import ConfigurationError
from streamserve.monitoring.labels.messages import PerformanceReport
from streamserve.monitoring.messages import DriftAlarm, DriftStatistics, Histogram
from tests.unit.flights.test_demo_summary import FOUND, SUMMARY
from topologies import drawing
from topologies.flights.demo.plots import draw_plots
from topologies.flights.demo.plots.history import History, baseline_of, divergence_by_week, mean_by_day
from topologies.flights.demo.watch import Alarm

BEGIN = datetime(2013, 1, 1, tzinfo=UTC)
BASELINE = {
    "hour": {"kind": "numeric", "counts": [50, 50]},
    "dest": {"kind": "categorical", "categories": {"ORD": 3}, "other": 1},
}


def statistics(
    column: str,
    day: int,
    *,
    mean: float | None = None,
    counts: tuple[int, ...] = (),
    categories: Mapping[str, int] | None = None,
    version: str = "3",
    of: str | None = None,
) -> bytes:
    """A message as the app writes it, of a day counted from the first of January."""
    window = BEGIN + timedelta(days=day)
    edges = tuple(float(edge) for edge in range(len(counts) - 1))
    message = DriftStatistics(
        model="delay",
        version=version,
        column=column,
        slice=of,
        partition=0,
        window_start=window,
        window_end=window + timedelta(days=1),
        count=sum(counts) or 4,
        nulls=0,
        mean=mean,
        histogram=Histogram(edges=edges, counts=counts) if counts else None,
        categories=categories,
        other=None if categories is None else 0,
    )
    return message.model_dump_json().encode()


def alarm() -> bytes:
    message = DriftAlarm(
        model="delay", version="3", column="hour", detector="ADWIN", partition=0, event_time=BEGIN, ordinal=0, count=1
    )
    return message.model_dump_json().encode()


def report(auc: float, *, month: datetime | None = BEGIN, of: str | None = None) -> bytes:
    message = PerformanceReport(
        model="delay",
        version="3",
        slice=of,
        partition=0,
        window_start=month,
        window_end=month and month + timedelta(days=31),
        counts={},
        pairs=10,
        metrics={"ROCAUC": auc},
    )
    return message.model_dump_json().encode()


def history(*drift: bytes, performance: tuple[bytes, ...] = ()) -> History:
    return History.of("3", drift=drift, performance=performance)


def test_other_versions_slices_and_kinds_are_left_out() -> None:
    kept = statistics("hour", 0, mean=1.0)
    found = history(
        kept,
        statistics("hour", 0, mean=2.0, version="2"),
        statistics("hour", 0, mean=3.0, of="origin=JFK"),
        alarm(),
        performance=(report(0.7), report(0.8, of="origin=JFK"), report(0.9, month=None), b'{"kind":"match","key":"a"}'),
    )
    assert [each.mean for each in found.statistics] == [1.0]
    assert [each.metrics["ROCAUC"] for each in found.reports] == [0.7]


def test_a_days_mean_weighs_partitions_by_their_values() -> None:
    found = history(
        statistics("hour", 1, mean=5.0, counts=(1, 0)),
        statistics("hour", 0, mean=1.0, counts=(3, 0)),
        statistics("hour", 0, mean=5.0, counts=(1, 0)),
    )
    assert mean_by_day(found.statistics, "hour") == {date(2013, 1, 1): 2.0, date(2013, 1, 2): 5.0}


def test_days_and_partitions_of_a_week_are_added_up_before_they_are_compared() -> None:
    found = history(statistics("hour", 0, counts=(9, 1)), statistics("hour", 6, counts=(1, 9)))
    assert divergence_by_week(found.statistics, BASELINE) == {"hour": [0.0]}


def test_what_is_left_of_a_week_belongs_to_the_one_before() -> None:
    found = history(statistics("hour", 0, counts=(5, 5)), *(statistics("hour", day, counts=(5, 5)) for day in (7, 14)))
    assert divergence_by_week(found.statistics, BASELINE) == {"hour": [0.0, 0.0]}


def test_categories_that_the_training_data_had_not_are_not_compared() -> None:
    found = history(statistics("dest", 0, categories={"ORD": 3, "XXX": 7}))
    [index] = divergence_by_week(found.statistics, BASELINE)["dest"]
    assert index == pytest.approx(0.25 * log(1 / 0.75) + 0.25 * log(0.25 / 0.0001), abs=0.001)  # none of the others


def test_columns_without_a_baseline_or_without_values_in_a_week_are_left_out() -> None:
    found = history(
        *(statistics(column, 0, counts=(1, 1)) for column in ("hour", "new")), statistics("new", 13, counts=(1, 1))
    )
    assert divergence_by_week(found.statistics, BASELINE) == {}


def drawn(folder: Path) -> dict[str, str]:
    """The pictures of three days of which one flight was judged, by name."""
    days = [statistics(column, day, mean=0.2, counts=(9, 1)) for column in ("probability", "hour") for day in range(3)]
    found = replace(FOUND, alarms=[Alarm("alarm", "probability", "ADWIN", 0, "2013-01-02T10:00:00Z")])
    files = draw_plots(history(*days, performance=(report(0.7),)), replace(SUMMARY, verification=found), folder / "new")
    return {file.name: file.read_text() for file in files}


def test_a_run_has_three_pictures_that_say_what_they_show(tmp_path: Path) -> None:
    pictures = drawn(tmp_path)
    assert list(pictures) == ["terminal.svg", "drift.svg", "quality.svg"]
    assert "lost" in pictures["terminal.svg"]
    assert all(words in pictures["drift.svg"] for words in ("ADWIN alarm", "mean of the day", "training data", "hour"))
    assert all(words in pictures["quality.svg"] for words in ("held out: 0.736", "ROC AUC", "% of flights", "Jan"))


def test_pictures_load_nothing_from_elsewhere(tmp_path: Path) -> None:
    for picture in drawn(tmp_path).values():
        assert not re.search(r"@font-face|@import|url\(['\"]?http|href=\"http", picture)


def test_the_same_figures_give_the_same_bytes(tmp_path: Path) -> None:
    assert drawn(tmp_path / "a") == drawn(tmp_path / "b")


def test_pictures_without_data_are_left_out(tmp_path: Path) -> None:
    found = replace(FOUND, outcomes=replace(FOUND.outcomes, scores={}, truths={}))
    files = draw_plots(history(), replace(SUMMARY, verification=found), tmp_path)
    assert [file.name for file in files] == ["terminal.svg"]


def test_every_column_of_the_app_has_a_baseline() -> None:
    assert {"probability", "route_late_share", "temp", "dest"} <= baseline_of("3").keys()


def test_without_matplotlib_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def find_nothing(_name: str) -> None:
        return None

    monkeypatch.setattr(drawing, "find_spec", find_nothing)
    with pytest.raises(ConfigurationError, match="plots"):
        drawing.require_matplotlib()
