"""What a run comes to."""

from __future__ import annotations

import json
from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from streamserve.testing.checks import Report
from topologies.flights.demo.latency import Latency
from topologies.flights.demo.outcomes import LabelOutcome, Outcomes
from topologies.flights.demo.quality import Area, Quality
from topologies.flights.demo.summary import Summary, held_out_metrics
from topologies.flights.demo.verify import Verification
from topologies.flights.demo.watch import Alarm


def report(inputs: int, outcomes: int, dead_letters: int) -> Report:
    return Report(
        inputs=inputs,
        committed=inputs,
        outcomes=outcomes,
        dead_letters=dead_letters,
        lost=0,
        duplicated=0,
        reordered=0,
        torn=0,
        premature=0,
        phantom=0,
    )


FOUND = Verification(
    flights=report(3, 3, 1),
    weather=report(2, 1, 1),
    departures=report(1, 0, 0),
    mismatched=0,
    misrolled=0,
    dead_letters={"flights": 1, "weather": 1},
    records={"flights": 3, "weather": 2, "departures": 1, "arrivals": 1},
    probabilities={"2013-01-01-UA-1-EWR": 0.25, "2013-02-01-UA-1-EWR": 0.5},
    labels={"2013-01-01-UA-1-EWR": False},
    outcomes=Outcomes.of(
        [LabelOutcome("match", "2013-01-01-UA-1-EWR", "matched", False, 0.25), LabelOutcome("metrics")]
    ),
    quality=Quality(),
    versions=frozenset({"1"}),
    alarms=[
        Alarm("alarm", "probability", "ADWIN", 3, "2013-02-01T10:00:00Z"),
        Alarm("alarm", "probability", "ADWIN", 0, "2013-01-01T10:00:00Z"),
    ],
    latest=[],
)
SUMMARY = Summary(events=3, kills=2, seconds=1.5, verification=FOUND, latency=Latency(10, 1.0, 2.0, 3.0))


def with_flights(changes: Report) -> Summary:
    return replace(SUMMARY, verification=replace(FOUND, flights=changes))


def test_a_good_run_is_good() -> None:
    assert SUMMARY.good
    assert (SUMMARY.lost, SUMMARY.duplicated, SUMMARY.disordered) == (0, 0, 0)
    assert (SUMMARY.predictions, SUMMARY.dead_letters) == (2, 1)


def test_a_lost_flight_spoils_a_run() -> None:
    summary = with_flights(replace(report(3, 2, 1), lost=1))
    assert summary.lost == 1
    assert not summary.good


def test_a_flight_that_was_never_consumed_is_lost() -> None:
    summary = with_flights(replace(report(3, 2, 1), committed=2))
    assert summary.lost == 1
    assert not summary.good


def test_a_repeated_outcome_spoils_a_run() -> None:
    summary = with_flights(replace(report(3, 4, 1), duplicated=1))
    assert summary.duplicated == 1
    assert not summary.good


@pytest.mark.parametrize("injury", ["reordered", "torn", "premature", "phantom"])
def test_other_anomalies_spoil_a_run(injury: str) -> None:
    summary = with_flights(replace(report(3, 3, 1), **{injury: 1}))
    assert summary.disordered == 1
    assert not summary.good


def test_a_prediction_that_does_not_follow_from_its_row_spoils_a_run() -> None:
    assert not replace(SUMMARY, verification=replace(FOUND, mismatched=1)).good


def test_a_rolling_delay_that_is_computed_otherwise_spoils_a_run() -> None:
    assert not replace(SUMMARY, verification=replace(FOUND, misrolled=1)).good
    assert replace(SUMMARY, verification=replace(FOUND, misrolled=None)).good


@pytest.mark.parametrize(
    "wrong",
    [
        [],
        [("matched", True, 0.25)],
        [("matched", False, 0.26)],
        [("matched", False, 0.25), ("matched", False, 0.25)],
        [("matched", False, 0.25), ("unlabelled", None, 0.25)],
        [("matched", False, 0.25), ("late", False, None)],
    ],
)
def test_an_outcome_that_is_not_what_prediction_and_arrival_say_spoils_a_run(
    wrong: list[tuple[str, bool | None, float | None]],
) -> None:
    outcomes = Outcomes.of(LabelOutcome("match", "2013-01-01-UA-1-EWR", *each) for each in wrong)
    summary = replace(SUMMARY, verification=replace(FOUND, outcomes=outcomes))
    assert summary.misjudged == 1
    assert not summary.good


def test_a_month_reported_otherwise_than_its_matches_say_spoils_a_run() -> None:
    quality = Quality(reported={("2013-01", 0): Area(0.7, 12)})
    summary = replace(SUMMARY, verification=replace(FOUND, quality=quality))
    assert summary.misjudged == 1
    assert not summary.good


def test_live_auc_is_what_the_app_reported() -> None:
    quality = Quality(
        reported={("2013-01", 0): Area(0.7, 10), ("2013-01", 1): Area(0.8, 30), ("2013-02", 0): Area(None, 0)}
    )
    found = replace(SUMMARY, verification=replace(FOUND, quality=quality)).as_dict()
    assert found["live_auc"] == {"2013-01": 0.775, "2013-02": None}


def test_json_is_one_line_with_the_promised_fields() -> None:
    line = SUMMARY.as_json()
    found = json.loads(line)
    assert "\n" not in line
    assert found["events"] == 3
    assert found["misrolled"] == found["misjudged"] == 0
    assert found["outcomes"] == {"matched": 1}
    assert found["live_auc"] == found["live_auc_recomputed"] == {}
    assert found["records"] == 7
    assert found["events_per_second"] == 2.0
    assert found["latency_ms"] == {"p50": 1.0, "p95": 2.0, "p99": 3.0}
    assert [alarm["date"] for alarm in found["drift_alarms"]] == ["2013-01-01", "2013-02-01"]
    assert found["log_loss"] == {"2013-01": 0.2877, "2013-02": None}
    assert found["auc"] == {"2013-01": None, "2013-02": None}
    assert found["held_out"] == {"1": held_out_metrics("1")}


def test_the_summary_for_reading_names_the_counts_and_the_drift() -> None:
    console = Console(width=120, file=StringIO())
    with console.capture() as capture:
        SUMMARY.print(console)
    text = capture.get()
    assert "exactly one outcome after 2 SIGKILLs" in text
    assert "1 of weather" in text
    [february] = [line for line in text.splitlines() if "2013-02" in line]
    assert "1 ADWIN" in february
