"""The judge of drift messages and state records: content with what a monitor writes, and nothing else."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import msgspec
import numpy as np
import pytest
from pydantic import BaseModel
from river.drift import ADWIN, PageHinkley

from streamserve.inference.package import load_package
from streamserve.monitoring.monitor import GroupMonitor, MonitorPlan
from tests.integration.flights_storm.drift import Told, judge_drift
from tests.integration.flights_storm.figures import DAY_MS
from tests.integration.flights_storm.findings import Finding
from tests.integration.flights_storm.scored import ScoredRows, manifest_of
from tests.integration.flights_storm.snapshot import judge_state
from tests.integration.flights_storm.state_record import Monitoring
from topologies.flights.reference import MODELS
from topologies.flights.rows import STRING_INPUTS
from topologies.flights.training import CHAMPION

FLIGHTS = 6_000
DAYS = 4
CUTS = [1, 40, 700, 701, 1_480, 2_100, 3_333, 4_444, 4_460, 5_999]
PARTITION = 1

BASELINE = manifest_of(CHAMPION)["baseline"]
NUMBERS = [name for name, each in BASELINE.items() if "edges" in each]
decode = msgspec.json.Decoder(Told, strict=False).decode


@dataclass(frozen=True)
class Written:
    """What a monitor wrote, and its last state record."""

    messages: list[dict[str, Any]]
    record: bytes


@pytest.fixture(scope="module")
def rows() -> ScoredRows:
    """Flights of four days; half way, the model changes its mind."""
    chance = np.random.default_rng(1)
    numbers = {name: chance.normal(size=FLIGHTS) for name in NUMBERS}
    numbers["probability"] = np.where(np.arange(FLIGHTS) < FLIGHTS // 2, 0.2, 0.9) + chance.normal(0, 0.02, FLIGHTS)
    numbers["label"] = (numbers["probability"] >= 0.5).astype(np.float64)
    numbers["route_late_share"][::7] = np.nan
    texts = {name: chance.choice(["ORD", "LAX", "XXX"], FLIGHTS).tolist() for name in STRING_INPUTS}
    times = np.linspace(0, DAYS * DAY_MS - 1, FLIGHTS).astype(np.int64)
    return ScoredRows(times, numbers, {**texts, "origin": ["JFK"] * FLIGHTS})


@pytest.fixture(scope="module")
def written(rows: ScoredRows) -> Written:
    """The batches go through monitors of which each begins where the one before was when it was killed."""
    kinds: dict[str, type] = dict.fromkeys(rows.numbers, float) | dict.fromkeys(rows.texts, str)
    detectors = [ADWIN(min_window_length=2000), PageHinkley(min_instances=1000, threshold=300)]
    columns = ["probability", "route_late_share"]
    plan = MonitorPlan("delay", kinds, DAY_MS, detectors, ["origin"], columns)
    baseline = load_package(MODELS / "delay" / CHAMPION).manifest.baseline
    monitor = GroupMonitor(plan, partition=PARTITION, baselines=lambda _: baseline)
    messages: list[BaseModel] = []
    state = b""
    for start, stop in zip([0, *CUTS], [*CUTS, FLIGHTS], strict=True):
        values: dict[str, Any] = {name: column[start:stop] for name, column in rows.numbers.items()}
        values |= {name: column[start:stop] for name, column in rows.texts.items()}
        monitor.update(values, rows.times_ms[start:stop], CHAMPION)
        messages += [*monitor.advance(int(rows.times_ms[stop - 1])), *monitor.take_alarms()]
        state = monitor.snapshot()
        monitor = GroupMonitor.restore(state, plan, partition=PARTITION, baselines=lambda _: baseline)
    record = msgspec.msgpack.encode({"states": {"delay": state}, "format": 1})
    return Written([json.loads(message.model_dump_json()) for message in messages], record)


def judged(messages: Sequence[dict[str, Any]], rows: ScoredRows) -> list[str]:
    """What the judge finds wrong with messages."""
    told = [decode(msgspec.json.encode(message)) for message in messages]
    return wrong(list(judge_drift(told, {PARTITION: rows}, CHAMPION, BASELINE, {PARTITION: DAYS - 2})))


def judged_state(record: bytes, rows: ScoredRows) -> list[str]:
    watermark = {PARTITION: int(rows.times_ms[-1])}
    states = {PARTITION: Monitoring.of(record)}
    found = list(judge_state(states, {PARTITION: rows}, CHAMPION, BASELINE, watermark))
    return [what.removeprefix("fold of flights-state-changelog: ") for what in wrong(found)]


def wrong(findings: Sequence[Finding]) -> list[str]:
    assert all(finding.compared for finding in findings)
    return [finding.what for finding in findings if finding.differing]


def test_what_a_monitor_writes_is_right_however_often_it_was_killed(written: Written, rows: ScoredRows) -> None:
    assert judged(written.messages, rows) == []
    assert judged_state(written.record, rows) == []
    alarms = {(each["column"], each["detector"]) for each in written.messages if each["kind"] == "alarm"}
    assert alarms == {("probability", "ADWIN"), ("probability", "PageHinkley")}


FIGURES: list[tuple[str, Callable[[Any], Any]]] = [
    ("count", lambda count: count + 1),
    ("nulls", lambda nulls: nulls + 1),
    ("late", lambda late: late + 1),
    ("mean", lambda mean: mean * (1 + 1e-6)),
    ("variance", lambda variance: variance * (1 + 1e-6)),
    ("maximum", lambda maximum: maximum + 1e-6),
    ("psi", lambda psi: psi + 1e-6),
    ("histogram", lambda histogram: {**histogram, "counts": [*histogram["counts"][1:], histogram["counts"][0]]}),
    ("version", lambda _: "2"),
]


@pytest.mark.parametrize(("figure", "change"), FIGURES, ids=[figure for figure, _ in FIGURES])
def test_a_figure_that_is_off_is_found(
    written: Written, rows: ScoredRows, figure: str, change: Callable[[Any], Any]
) -> None:
    place = found(written, "statistics", "probability")
    messages = [*written.messages]
    messages[place] = {**messages[place], figure: change(messages[place][figure])}
    assert judged(messages, rows) == ["drift statistics"]


def test_a_window_told_twice_or_not_at_all_is_found(written: Written, rows: ScoredRows) -> None:
    place = found(written, "statistics", "hour")
    twice = [*written.messages, written.messages[place]]
    assert judged(twice, rows) == ["drift windows, once each"]
    missing = [message for number, message in enumerate(written.messages) if number != place]
    assert judged(missing, rows) == ["drift windows, once each", "drift statistics"]


def test_a_quantile_whose_rank_is_off_is_found(written: Written, rows: ScoredRows) -> None:
    place = found(written, "statistics", "temp")
    quantiles = written.messages[place]["quantiles"]
    messages = [*written.messages]
    messages[place] = {**messages[place], "quantiles": {**quantiles, "0.5": quantiles["0.25"]}}
    assert judged(messages, rows) == ["drift quantiles"]


def test_detectors_that_never_stood_so_are_found(written: Written, rows: ScoredRows) -> None:
    place = found(written, "statistics", "probability")
    told = written.messages[place]["detectors"]
    messages = [*written.messages]
    figures = {**told[0]["figures"], "width": told[0]["figures"]["width"] + 1}
    messages[place] = {**messages[place], "detectors": [{**told[0], "figures": figures}, told[1]]}
    assert judged(messages, rows) == ["detectors as told with windows"]


def test_an_alarm_that_is_lost_or_repeated_is_found(written: Written, rows: ScoredRows) -> None:
    place = found(written, "alarm", "probability")
    assert judged([*written.messages, written.messages[place]], rows) == ["drift alarms"]
    assert judged(written.messages[:place] + written.messages[place + 1 :], rows) == ["drift alarms"]


def test_a_state_that_missed_a_row_or_has_one_twice_is_found(written: Written, rows: ScoredRows) -> None:
    order = np.arange(FLIGHTS)
    for changed in (np.delete(order, 5_900), np.insert(order, 5_900, 5_900)):
        others = replace(
            rows,
            times_ms=rows.times_ms[changed],
            numbers={name: column[changed] for name, column in rows.numbers.items()},
            texts={name: [column[row] for row in changed.tolist()] for name, column in rows.texts.items()},
        )
        assert {"place", "detectors"} <= set(judged_state(written.record, others))


def test_a_state_whose_windows_took_in_another_value_is_found(written: Written, rows: ScoredRows) -> None:
    hours = rows.numbers["hour"].copy()
    hours[4_600] += 0.5
    others = replace(rows, numbers={**rows.numbers, "hour": hours})
    assert set(judged_state(written.record, others)) == {"open windows"}


def found(written: Written, kind: str, column: str) -> int:
    """Where the first message of a kind and column is, of all rows."""
    fitting = [each["kind"] == kind and each["column"] == column and not each.get("slice") for each in written.messages]
    return fitting.index(True)
