"""Live AUC as the app reports it, held against the matches that stand beside the reports."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import msgspec
import pytest

from streamserve.monitoring.labels.entries import Label, Outcome, Predicted
from streamserve.monitoring.labels.group import GroupLabels
from streamserve.monitoring.labels.messages import encode_matches
from streamserve.monitoring.labels.plan import DAY_MS, PerformancePlan
from topologies.flights.demo.quality import PerformanceValue, Quality
from topologies.flights.report import auc

JANUARY = int(datetime(2013, 1, 30, tzinfo=UTC).timestamp() * 1000)
FLIGHTS = 40

decode = msgspec.json.Decoder(PerformanceValue).decode


def late(number: int) -> bool:
    return number % 3 == 0


def score(number: int) -> float:
    return number * 7 % 11 / 11


def written(partition: int, days: int = 6) -> list[PerformanceValue]:
    """What a label join writes of flights every hour of January, each landed an hour later, and one that never did."""
    group = GroupLabels(PerformancePlan(within_ms=3 * DAY_MS, window="month"), partition=partition)
    values: list[bytes] = []
    for number in range(FLIGHTS + partition):
        at = JANUARY + number * 3_600_000
        key = b"%d" % number
        predicted = Predicted(at, score(number), "delay", "3")
        values += matches(group.predict([key], [predicted]))
        values += matches(group.label([key], [Label(at + 3_600_000, late(number))]))
    group.predict([b"never"], [Predicted(JANUARY + 2 * DAY_MS, 0.5, "delay", "3")])
    expired, reports = group.advance(JANUARY + days * DAY_MS)
    return [decode(value) for value in [*values, *matches(expired), *(r.model_dump_json().encode() for r in reports)]]


def matches(outcomes: Sequence[Outcome]) -> list[bytes]:
    return encode_matches(outcomes)


def quality(*partitions: Sequence[PerformanceValue]) -> Quality:
    found = Quality()
    for partition, values in enumerate(partitions):
        for value in values:
            found.add(value, partition)
    return found


def test_what_the_app_reports_is_what_its_matches_come_to() -> None:
    found = quality(written(0), written(1))
    assert found.misreported == 0
    assert set(found.reported) == {("2013-01", 0), ("2013-01", 1)}
    assert found.live_auc == pytest.approx(found.recomputed_auc, abs=1e-9)


def test_one_partition_has_the_area_of_its_pairs() -> None:
    found = quality(written(0))
    numbers = range(FLIGHTS)
    assert found.live_auc["2013-01"] == pytest.approx(auc([late(n) for n in numbers], [score(n) for n in numbers]))


def test_a_month_that_is_not_settled_is_neither_reported_nor_missed() -> None:
    found = quality(written(0, days=4))
    assert (found.live_auc, found.recomputed_auc, found.misreported) == ({}, {}, 0)


def test_a_report_that_did_not_come_is_missed() -> None:
    assert quality([value for value in written(0) if value.kind == "match"]).misreported == 1


def test_a_report_that_came_twice_is_one_too_many() -> None:
    values = written(0)
    assert quality([*values, *(value for value in values if value.kind == "metrics")]).misreported == 1


@pytest.mark.parametrize("change", [{"score": 0.99}, {"truth": True}, {"status": "repeated"}])
def test_a_match_that_the_report_does_not_know_is_found(change: dict[str, object]) -> None:
    values = written(0)
    place = next(place for place, value in enumerate(values) if value.score is not None and not value.truth)
    values[place] = msgspec.structs.replace(values[place], **change)
    assert quality(values).misreported == 1


def test_slices_versions_and_all_time_are_left_out() -> None:
    reports = [value for value in written(0) if value.kind == "metrics"]
    assert {(each.version, each.window_start is None) for each in reports} > {(None, False)}
    assert len(quality(written(0)).reported) == 1
