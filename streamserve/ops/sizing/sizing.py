"""What a deployment takes, as one record: how many workers, how busy they are, what brokers see, what it costs."""

from __future__ import annotations

from dataclasses import dataclass

from streamserve.ops.sizing import constants
from streamserve.ops.sizing.cycle import capacity, commit_seconds, cycle_of
from streamserve.ops.sizing.deployment import Deployment
from streamserve.ops.sizing.rebalance import most_moved, restore_seconds, stop_seconds
from streamserve.ops.sizing.requests import requests_of

__all__ = ["Sizing", "size", "workers_needed"]

_MIB = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Sizing:
    """What a deployment takes with so many ``workers``; rates are per second, over all of them."""

    workers: int
    partitions_each: int
    """Of the worker that has most of them."""
    keeps_up: bool
    utilisation: float
    """Of that worker: its load as a share of what it can do at most; above ``Deployment.busy`` it is too much."""
    cores: float
    """Processor time a second that the records take, of all workers."""
    records_per_worker: float
    capacity_per_worker: float
    commit_ms: float
    transactions: float
    requests: float
    """That clients send for transactions; fetches and heartbeats come on top."""
    appends: float
    """Writes to logs that are for transactions and outputs, each to be replicated."""
    replica_appends: float
    offsets_bytes: float
    """Written to ``__consumer_offsets``, before replication: compacted, so it is traffic rather than space."""
    latency_floor_ms: float
    """From a record that arrives alone until it is visible."""
    latency_ms: float
    """The same at this load, for a record in the middle of its transaction."""
    longest_latency_ms: float
    """The same for one that comes just after a commit has begun."""
    rebalance_s: float
    """Until all is read again after a worker left in order, state included."""
    failover_s: float
    """The same after one was killed that does not come back under its name."""
    restore_s: float
    """Of these, what goes into taking partitions over."""
    memory_mib: float
    """Of one worker; Feast takes some 200 MiB more, models what they are."""
    cost_per_million: float
    """Of the workers' cores: one each."""


def size(deployment: Deployment, workers: int) -> Sizing:
    """Return what ``deployment`` takes with so many workers.

    Raises:
        ValueError: there are none, or more than partitions: the others would have nothing to do.
    """
    if not 1 <= workers <= deployment.partitions:
        raise ValueError(
            f"{workers:,} workers cannot share {deployment.partitions:,} partitions: take 1 to"
            f" {deployment.partitions:,} workers, or more partitions"
        )
    cycle, most = cycle_of(deployment, workers), capacity(deployment, workers)
    rate = deployment.rate(workers)
    per_second = workers / cycle.seconds
    asked = requests_of(deployment, cycle)
    restore = restore_seconds(deployment, most_moved(deployment.partitions, workers))
    rebalance = stop_seconds(deployment) + cycle.commit_seconds + restore
    alone = deployment.cpu_us_per_record / 1e3 + commit_seconds(deployment, 2 if deployment.state_keys else 1) * 1e3
    return Sizing(
        workers=workers,
        partitions_each=deployment.owned(workers),
        keeps_up=rate <= most * deployment.busy,
        utilisation=rate / most,
        cores=deployment.records_per_second * deployment.cpu_us_per_record / 1e6,
        records_per_worker=rate,
        capacity_per_worker=most,
        commit_ms=cycle.commit_seconds * 1e3,
        transactions=per_second,
        requests=per_second * asked.of_the_client,
        appends=per_second * asked.appends,
        replica_appends=per_second * asked.appends * deployment.replication,
        offsets_bytes=per_second * min(deployment.owned(workers), cycle.records) * constants.MARK_BYTES,
        latency_floor_ms=alone,
        latency_ms=(cycle.open_seconds / 2 + cycle.commit_seconds) * 1e3,
        longest_latency_ms=(cycle.seconds + cycle.commit_seconds) * 1e3,
        rebalance_s=rebalance,
        failover_s=deployment.session_timeout_s + rebalance,
        restore_s=restore,
        memory_mib=_memory_mib(deployment, workers),
        cost_per_million=workers * deployment.core_hour_price / 3600 / deployment.records_per_second * 1e6,
    )


def _memory_mib(deployment: Deployment, workers: int) -> float:
    keys = deployment.state_keys * deployment.owned(workers) / deployment.partitions
    return constants.WORKER_MIB + keys * (constants.KEY_BYTES + deployment.state_bytes) / _MIB


def workers_needed(deployment: Deployment) -> int:
    """Return the fewest workers of which none gets more than its share of what it can do.

    Raises:
        ValueError: no number of workers is enough, and how many partitions would be.
    """
    for each in range(deployment.partitions, 0, -1):
        workers = -(-deployment.partitions // each)
        if deployment.rate(workers) <= capacity(deployment, workers) * deployment.busy:
            return workers
    most = capacity(deployment, deployment.partitions) * deployment.busy
    enough = -(-deployment.records_per_second // most)
    raise ValueError(
        f"one worker for each of the {deployment.partitions:,} partitions is not enough: a worker takes {most:,.0f}"
        f" records a second with {deployment.busy:.0%} of its capacity. Take at least {enough:,.0f} partitions, less"
        " processor time for a record, or longer commit intervals"
    )
