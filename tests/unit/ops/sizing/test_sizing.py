from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamserve.kafka.clients import producer_config
from streamserve.kafka.marks import OffsetMark
from streamserve.ops.sizing import Deployment, constants, size, workers_needed
from streamserve.ops.sizing.cycle import capacity, commit_seconds, cycle_of
from streamserve.ops.sizing.rebalance import most_moved
from streamserve.ops.sizing.requests import requests_of
from streamserve.settings import Settings

LOADS = st.builds(
    Deployment,
    records_per_second=st.floats(1, 1e7),
    partitions=st.integers(1, 10_000),
    cpu_us=st.floats(0.5, 1_000),
    commit_interval_ms=st.floats(1, 10_000),
    state_keys=st.sampled_from([0, 1_000_000]),
    co_partitioned=st.booleans(),
    replication=st.integers(1, 3),
    round_trip_ms=st.floats(0, 20),
)


@given(LOADS)
def test_the_workers_needed_are_the_fewest_that_keep_up(load: Deployment) -> None:
    if not size(load, load.partitions).keeps_up:
        with pytest.raises(ValueError, match="Take at least"):
            workers_needed(load)
        return
    workers = workers_needed(load)
    assert size(load, workers).keeps_up
    if workers > 1:
        assert not size(load, workers - 1).keeps_up


@given(LOADS)
def test_a_cycle_agrees_with_itself(load: Deployment) -> None:
    cycle = cycle_of(load, 1)
    assert cycle.commit_seconds == pytest.approx(commit_seconds(load, cycle.touched), rel=0.01)
    assert cycle.records >= 1
    assert cycle.touched <= load.reachable(1) + 1e-6
    assert cycle.seconds <= max(1 / load.rate(1), load.commit_interval_ms / 1e3 + cycle.commit_seconds) * 1.001


@given(LOADS)
def test_no_worker_does_more_than_its_processor_time_allows(load: Deployment) -> None:
    assert 0 < capacity(load, 1) < 1e6 / load.cpu_us_per_record


def test_a_lone_record_is_a_transaction_of_its_own() -> None:
    load = Deployment(records_per_second=0.1, partitions=8)
    found = size(load, 1)
    assert found.transactions == pytest.approx(0.1)
    assert found.latency_floor_ms < 20


def test_a_worker_that_is_behind_commits_at_the_interval() -> None:
    load = Deployment(records_per_second=1e9, partitions=1, commit_interval_ms=100)
    cycle = cycle_of(load, 1)
    assert cycle.open_seconds == pytest.approx(0.1)
    assert size(load, 1).utilisation > 1


def test_requests_follow_the_steps_of_a_commit() -> None:
    load = Deployment(records_per_second=100_000, partitions=4, cpu_us=5, commit_interval_ms=20)
    stateless = requests_of(load, cycle_of(load, 1))
    with_state = replace(load, state_keys=1_000)
    assert (stateless.add_partitions, stateless.add_offsets, stateless.offset_commit, stateless.end) == (1, 1, 1, 1)
    assert requests_of(with_state, cycle_of(with_state, 1)).add_partitions == 2
    assert stateless.produce >= 4
    assert stateless.markers == pytest.approx(5, rel=0.01)


def test_outputs_that_stay_in_their_partition_touch_fewer() -> None:
    spread = Deployment(records_per_second=500_000, partitions=256)
    together = replace(spread, co_partitioned=True)
    assert size(together, 16).requests < size(spread, 16).requests
    assert size(together, 16).commit_ms < size(spread, 16).commit_ms / 4


def test_under_load_longer_intervals_make_fewer_transactions_and_more_latency() -> None:
    short = Deployment(records_per_second=800_000, partitions=32, commit_interval_ms=20)
    long = replace(short, commit_interval_ms=500)
    assert size(long, 4).transactions < size(short, 4).transactions
    assert size(long, 4).latency_ms > size(short, 4).latency_ms


def test_what_state_takes_goes_by_the_partitions_that_move() -> None:
    load = Deployment(records_per_second=1_000, partitions=12, state_keys=12_000_000)
    assert size(load, 2).restore_s > size(load, 4).restore_s > 1
    assert size(load, 1).restore_s == 0
    assert size(load, 2).memory_mib - constants.WORKER_MIB == pytest.approx(6_000_000 * 243 / (1 << 20))


@given(st.integers(1, 200), st.integers(2, 40))
def test_whoever_leaves_its_partitions_find_new_owners(partitions: int, workers: int) -> None:
    workers = min(workers, partitions)
    moved = most_moved(partitions, workers)
    assert moved <= -(-partitions // max(1, workers - 1))
    assert (moved > 0) == (workers > 1)


def test_a_figure_out_of_its_range_names_it() -> None:
    with pytest.raises(ValueError, match="hit_rate has to be between 0 and 1"):
        Deployment(records_per_second=1, partitions=1, hit_rate=1.5)
    with pytest.raises(ValueError, match="3 workers cannot share 2 partitions"):
        size(Deployment(records_per_second=1, partitions=2), 3)


def test_the_engine_is_set_as_the_model_takes_it() -> None:
    settings = Settings()
    config = producer_config(settings, "app.host-0.0")
    assert (config["linger.ms"], config["batch.size"]) == (constants.LINGER_MS, constants.BATCH_BYTES)
    assert settings.max_poll_records == constants.POLL_RECORDS
    assert settings.max_transaction_records == constants.RECORDS_PER_TRANSACTION
    mark = OffsetMark("payments-worker-0.example-0", 1_767_225_600_000, 123_456).encode()
    assert len(mark) < constants.MARK_BYTES
