"""Prometheus sees every event, under bounded labels, in a form that promtool accepts."""

from __future__ import annotations

import re
import shutil
import subprocess

import pytest
from prometheus_client.parser import text_string_to_metric_families

from streamserve.observer import Observers
from streamserve.ops.metrics import PrometheusObserver


@pytest.fixture
def metrics() -> PrometheusObserver:
    return PrometheusObserver("flights")


def tell_everything(observer: Observers) -> None:
    observer.polled("flights", 500)
    observer.processed("predict", 500, 0.002)
    observer.emitted("delays", 499)
    observer.dead_lettered("predict", "agent", 1)
    observer.skipped("decode", "decode", 2)
    observer.committed(500, 0.003)
    observer.latencies([0.004, 0.006, 12.0])
    observer.aborted("TransactionAborted", "why")
    observer.assigned({"flights": [0, 1]})
    observer.restored("flights/0", 0.2)
    observer.lag("flights", 0, 17)
    observer.features_read("delay_v1", 500, 480, 0.001, [3.0, 4000.0])
    observer.features_pushed("weather", 3, 1)
    observer.model_loaded("delay", "1", "ab12", 256)
    observer.model_run("delay", 256, 1, 0.0004)
    observer.drift_window("delay", "gust", "origin=JFK", {"count": 10, "mean": 1.5, "median": None})
    observer.drift_alarm("delay", "gust", "ADWIN", 1_000)
    observer.ready(True, "")
    observer.progress()


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
        "streamserve_records_committed_total": 500,
        "streamserve_commit_seconds_count": 1,
        "streamserve_commit_records_count": 1,
        "streamserve_restarts_total{reason=TransactionAborted}": 1,
        "streamserve_rebalances_total": 1,
        "streamserve_assigned_partitions{topic=flights}": 2,
        "streamserve_restore_seconds_sum": 0.2,
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
        "streamserve_drift_statistic{column=gust,model=delay,slice=origin=JFK,statistic=mean}": 1.5,
        "streamserve_drift_alarms_total{column=gust,detector=ADWIN,model=delay}": 1,
        "streamserve_drift_last_alarm_timestamp_seconds{column=gust,detector=ADWIN,model=delay}": 1,
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


def test_lag_of_partitions_that_left_is_not_reported(metrics: PrometheusObserver) -> None:
    metrics.lag("flights", 0, 5)
    metrics.assigned({"flights": [1]})
    metrics.lag("flights", 1, 6)
    assert [name for name in samples(metrics) if "lag" in name] == [
        "streamserve_lag_records{partition=1,topic=flights}"
    ]


def test_a_swapped_model_has_one_version(metrics: PrometheusObserver) -> None:
    metrics.model_loaded("delay", "1", "ab", 64)
    metrics.model_loaded("delay", "2", "cd", 64)
    metrics.model_loaded("fare", "1", "ef", 64)
    assert sorted(name for name in samples(metrics) if "model_info" in name) == [
        "streamserve_model_info{model=delay,sha256=cd,version=2}",
        "streamserve_model_info{model=fare,sha256=ef,version=1}",
    ]


def test_drift_series_are_limited_and_known_ones_go_on() -> None:
    metrics = PrometheusObserver("flights", max_drift_series=2)
    for slice_ in ("JFK", "LGA", "EWR"):
        metrics.drift_window("delay", "gust", slice_, {"mean": 1.0})
    metrics.drift_window("delay", "gust", "JFK", {"mean": 2.0})
    found = samples(metrics)
    assert sum("drift_statistic" in name for name in found) == 2
    assert found["streamserve_drift_statistic{column=gust,model=delay,slice=JFK,statistic=mean}"] == 2.0
    assert found["streamserve_drift_series_dropped_total"] == 1


def test_two_apps_in_one_process_do_not_share_metrics(metrics: PrometheusObserver) -> None:
    PrometheusObserver("other").committed(7, 0.1)
    assert samples(metrics)["streamserve_records_committed_total"] == 0


def test_the_process_is_described(metrics: PrometheusObserver) -> None:
    assert samples(metrics)["process_resident_memory_bytes"] > 0


def test_names_follow_prometheus_rules(metrics: PrometheusObserver) -> None:
    tell_everything(metrics)
    for family in metrics.registry.collect():
        assert family.documentation, family.name
        assert re.fullmatch(r"(streamserve|process|python)_[a-z0-9_]+", family.name), family.name


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed")
def test_promtool_accepts_the_page(metrics: PrometheusObserver) -> None:
    tell_everything(metrics)
    done = subprocess.run(
        ["promtool", "check", "metrics"], input=metrics.render(), capture_output=True, check=False, timeout=30
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")
