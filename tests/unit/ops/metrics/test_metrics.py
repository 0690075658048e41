"""Prometheus sees every event, under bounded labels, in a form that promtool accepts."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from importlib.metadata import version

import pytest
from prometheus_client.openmetrics import exposition, parser
from prometheus_client.parser import text_string_to_metric_families

from streamserve.ops.health import Liveness
from streamserve.ops.metrics import PrometheusObserver
from streamserve.records import Span
from tests.unit.ops.metrics.naming import problems_of
from tests.unit.ops.metrics.telling import tell_everything


@pytest.fixture
def metrics() -> PrometheusObserver:
    return PrometheusObserver("flights")


def samples(metrics: PrometheusObserver) -> dict[str, float]:
    """Return values by ``name{label=value,...}``."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_every_event_shows(metrics: PrometheusObserver) -> None:
    tell_everything(metrics)
    found = samples(metrics)
    expected = {
        "streamserve_app_info{app=flights}": 1,
        "streamserve_records_polled_total{topic=flights}": 500,
        "streamserve_records_processed_total{step=predict}": 500,
        "streamserve_batch_records_bucket{le=1024.0,step=predict}": 1,
        "streamserve_step_seconds_sum{step=predict}": 0.002,
        "streamserve_records_emitted_total{topic=delays}": 499,
        "streamserve_dead_letters_total{reason=agent,step=predict}": 1,
        "streamserve_records_skipped_total{reason=decode,step=decode}": 2,
        "streamserve_records_late_total{window=origin_delay}": 3,
        "streamserve_records_committed_total": 500,
        "streamserve_commit_seconds_count": 1,
        "streamserve_commit_records_count": 1,
        "streamserve_restarts_total{reason=TransactionAborted}": 1,
        "streamserve_rebalances_total": 1,
        "streamserve_assigned_partitions{topic=flights}": 2,
        "streamserve_restore_read_records": 3,
        "streamserve_restore_expected_records": 10,
        "streamserve_restore_seconds_sum": 0.2,
        "streamserve_global_table_keys{topic=rates}": 5,
        "streamserve_global_table_records_refused_total{topic=rates}": 1,
        "streamserve_state_discarded_total{state=monitor of delay}": 1,
        "streamserve_lag_records{partition=0,topic=flights}": 17,
        "streamserve_feature_rows_total{service=delay_v1}": 500,
        "streamserve_feature_cache_hits_total{service=delay_v1}": 480,
        "streamserve_feature_age_seconds_count{service=delay_v1}": 2,
        "streamserve_feature_rows_pushed_total{source=weather}": 3,
        "streamserve_feature_rows_stale_total{source=weather}": 1,
        "streamserve_model_info{model=delay,sha256=ab12,version=1}": 1,
        "streamserve_model_max_batch_rows{model=delay}": 256,
        "streamserve_model_rows_total{model=delay}": 256,
        "streamserve_model_rows_rejected_total{model=delay}": 1,
        "streamserve_model_batch_rows_count{model=delay}": 1,
        "streamserve_feature_rows_unlogged_total{service=delay_v1}": 2,
        "streamserve_drift_statistic{column=gust,model=delay,partition=0,slice=origin=JFK,statistic=mean}": 1.5,
        "streamserve_drift_alarms_total{column=gust,detector=ADWIN,model=delay}": 1,
        "streamserve_drift_last_alarm_timestamp_seconds{column=gust,detector=ADWIN,model=delay,partition=0}": 1,
        "streamserve_labels_total{labels=delays-labels,status=matched}": 40,
        "streamserve_performance"
        "{labels=delays-labels,metric=ROCAUC,model=delay,partition=1,slice=,version=3,window=last}": 0.75,
        "streamserve_ready": 1,
        "streamserve_loop_turns_total": 1,
    }
    assert {name: found.get(name) for name in expected} == expected


def test_latency_buckets_are_cumulative_and_end_in_infinity(metrics: PrometheusObserver) -> None:
    metrics.latencies([0.0005, 0.005, 0.006, 12.0])
    found = samples(metrics)
    name = "streamserve_event_to_commit_seconds"
    assert [found[f"{name}_bucket{{le={bound}}}"] for bound in ("0.001", "0.005", "0.0075", "10.0", "+Inf")] == [
        1,
        2,
        3,
        3,
        4,
    ]
    assert found[f"{name}_count"] == 4
    assert found[f"{name}_sum"] == pytest.approx(12.0115)


def test_a_producer_whose_clock_is_ahead_takes_nothing_from_the_sum(metrics: PrometheusObserver) -> None:
    metrics.latencies([-3.0, 0.5])
    assert samples(metrics)["streamserve_event_to_commit_seconds_sum"] == 0.5


def test_lag_of_partitions_that_left_is_not_reported(metrics: PrometheusObserver) -> None:
    for topic, partition in (("flights", 0), ("flights", 1), ("weather", 0)):
        metrics.lag(topic, partition, 5)
    metrics.assigned({"flights": [1, 2], "weather": [2]})
    metrics.lag("flights", 2, 6)
    assert {name: value for name, value in samples(metrics).items() if "lag" in name} == {
        "streamserve_lag_records{partition=1,topic=flights}": 5,
        "streamserve_lag_records{partition=2,topic=flights}": 6,
    }


def test_drift_of_each_partition_is_a_series_of_its_own_and_leaves_with_it(metrics: PrometheusObserver) -> None:
    for partition in (0, 1):
        metrics.drift_window("delay", "gust", "", partition, {"mean": float(partition)})
        metrics.drift_alarm("delay", "gust", "ADWIN", partition, 1_000 * partition)
    gauges = {
        f"streamserve_drift_statistic{{column=gust,model=delay,partition={partition},slice=,statistic=mean}}": partition
        for partition in (0, 1)
    } | {
        f"streamserve_drift_last_alarm_timestamp_seconds{{column=gust,detector=ADWIN,model=delay,partition={partition}}}"
        "": partition
        for partition in (0, 1)
    }
    found = samples(metrics)
    assert {name: found.get(name) for name in gauges} == gauges
    metrics.assigned({"flights": [1]})
    found = samples(metrics)
    assert {name for name in gauges if name in found} == {name for name in gauges if "partition=1" in name}
    assert found["streamserve_drift_alarms_total{column=gust,detector=ADWIN,model=delay}"] == 2


def test_a_swapped_model_has_one_version(metrics: PrometheusObserver) -> None:
    metrics.model_loaded("delay", "1", "ab", 64)
    metrics.model_loaded("delay", "2", "cd", 64)
    metrics.model_loaded("fare", "1", "ef", 64)
    assert sorted(name for name in samples(metrics) if "model_info" in name) == [
        "streamserve_model_info{model=delay,sha256=cd,version=2}",
        "streamserve_model_info{model=fare,sha256=ef,version=1}",
    ]


def test_a_swap_shows_when_it_was(metrics: PrometheusObserver) -> None:
    before = time.time()
    metrics.model_loaded("delay", "1", "ab", 64)
    first = samples(metrics)["streamserve_model_loaded_timestamp_seconds{model=delay}"]
    metrics.model_loaded("delay", "2", "cd", 64)
    second = samples(metrics)["streamserve_model_loaded_timestamp_seconds{model=delay}"]
    assert before <= first <= second <= time.time()


def test_the_release_is_told(metrics: PrometheusObserver) -> None:
    assert samples(metrics)[f"streamserve_build_info{{version={version('streamserve')}}}"] == 1


def test_drift_series_are_limited_and_known_ones_go_on() -> None:
    metrics = PrometheusObserver("flights", max_drift_series=2)
    for slice_ in ("JFK", "LGA", "EWR"):
        metrics.drift_window("delay", "gust", slice_, 0, {"mean": 1.0})
    metrics.drift_window("delay", "gust", "JFK", 0, {"mean": 2.0})
    found = samples(metrics)
    assert sum("drift_statistic" in name for name in found) == 2
    assert found["streamserve_drift_statistic{column=gust,model=delay,partition=0,slice=JFK,statistic=mean}"] == 2.0
    assert found["streamserve_drift_series_dropped_total"] == 1
    metrics.assigned({"flights": [1]})
    metrics.drift_window("delay", "gust", "JFK", 1, {"mean": 3.0})
    assert [value for name, value in samples(metrics).items() if "drift_statistic" in name] == [3.0]


def test_two_apps_in_one_process_do_not_share_metrics(metrics: PrometheusObserver) -> None:
    PrometheusObserver("other").committed(7, 0.1)
    assert samples(metrics)["streamserve_records_committed_total"] == 0


def test_the_process_is_described(metrics: PrometheusObserver) -> None:
    assert samples(metrics)["process_resident_memory_bytes"] > 0


def test_names_follow_prometheus_rules(metrics: PrometheusObserver) -> None:
    tell_everything(metrics)
    page = metrics.render().decode()
    assert problems_of(page) == []
    names = re.findall(r"^# TYPE (\S+)", page, re.MULTILINE)
    assert len(names) > 40
    assert [name for name in names if not re.fullmatch(r"(streamserve|process|python)_[a-z0-9_]+", name)] == []


@pytest.mark.parametrize(
    ("metric", "problem"),
    [
        ("# TYPE events counter\nevents 1\n", "_total is for counters"),
        ("# HELP lag_total How far.\n# TYPE lag_total gauge\nlag_total 1\n", "_total is for counters"),
        ("# TYPE wait_seconds gauge\nwait_seconds 1\n", "no help text"),
        ("# HELP wait_milliseconds Time.\n# TYPE wait_milliseconds gauge\nwait_milliseconds 1\n", "base unit"),
        ("# HELP wait_ms Time.\n# TYPE wait_ms gauge\nwait_ms 1\n", "abbreviated unit"),
        ("# HELP lag_gauge Lag.\n# TYPE lag_gauge gauge\nlag_gauge 1\n", "tells the type"),
        ("# HELP lag_count Lag.\n# TYPE lag_count gauge\nlag_count 1\n", "for histograms"),
        ('# HELP lag Lag.\n# TYPE lag gauge\nlag{le="1"} 1\n', "labels of histograms"),
        ('# HELP lag Lag.\n# TYPE lag gauge\nlag{topicName="a"} 1\n', "camelCase"),
        ("# HELP lag Lag.\n# TYPE lag gauge\nlag 1\nlag 2\n", "given 2 times"),
    ],
)
def test_the_rules_find_what_breaks_them(metric: str, problem: str) -> None:
    assert any(problem in found for found in problems_of(metric))


def test_the_page_means_the_same_as_openmetrics(metrics: PrometheusObserver) -> None:
    tell_everything(metrics)
    page: str = exposition.generate_latest(metrics.registry).decode()  # pyright: ignore[reportUnknownMemberType, reportUnknownVariableType] - half typed
    families = list(parser.text_string_to_metric_families(page))  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]
    strict = {sample.name for family in families for sample in family.samples}
    assert {name.partition("{")[0] for name in samples(metrics)} == strict


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_page(metrics: PrometheusObserver) -> None:
    tell_everything(metrics)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.render(), capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_stall_is_shown_with_its_place_while_it_lasts(metrics: PrometheusObserver) -> None:
    liveness = Liveness(
        False,
        61.0,
        "start",
        doing=("agent predict", "features delay_v1"),
        at=(Span("in", 3, 40, 47), Span("in", 4, 1, 1)),
    )
    metrics.stalls.stalled(liveness)
    metrics.stalls.standing(liveness)
    page = metrics.render().decode()
    assert "streamserve_stalled 1.0" in page
    assert 'streamserve_stalls_total{call="features delay_v1"} 1.0' in page
    place = 'agent="predict",call="features delay_v1",offset="40",partition="3",topic="in"'
    assert f"streamserve_stalled_seconds{{{place}}} 61.0" in page
    metrics.stalls.moving(65.0)
    page = metrics.render().decode()
    assert "streamserve_stalled 0.0" in page
    assert "streamserve_stalled_seconds{" not in page


def test_deaths_before_are_asked_for_at_each_scrape(metrics: PrometheusObserver) -> None:
    deaths = [3, 0]
    metrics.stalls.ask_crashes(lambda: deaths.pop(0))
    assert b"streamserve_crashes 3.0" in metrics.render()
    assert b"streamserve_crashes 0.0" in metrics.render()
