"""A worker's cycle: it processes what has come, then commits, and meanwhile more comes."""

from __future__ import annotations

from typing import NamedTuple

from streamserve.ops.sizing import constants
from streamserve.ops.sizing.deployment import Deployment

__all__ = ["Cycle", "capacity", "commit_seconds", "cycle_of"]

_ROUNDS = 60
"""More than enough: each halves what the last was wrong by, or better."""


class Cycle(NamedTuple):
    """One transaction of one worker: times in seconds, and how many records and partitions it has."""

    seconds: float
    commit_seconds: float
    records: float
    touched: float

    @property
    def open_seconds(self) -> float:
        """Return how long the transaction takes records."""
        return max(0.0, self.seconds - self.commit_seconds)


def commit_seconds(deployment: Deployment, touched: float) -> float:
    """Return how long a commit takes that writes to ``touched`` partitions.

    To what was measured beside a broker without replicas come three round trips, of client and broker and, where there
    are replicas, of broker and broker: each request is answered once its record has replicas.
    """
    hops = 2 if deployment.replication > 1 else 1
    away = constants.COMMIT_ROUND_TRIPS * hops * deployment.round_trip_ms
    return (constants.COMMIT_MS + constants.PARTITION_MS * touched + away) / 1e3


def capacity(deployment: Deployment, workers: int) -> float:
    """Return the records a second that one worker can do at most, when it commits only as often as it must.

    It processes for a commit interval, or until the transaction is full, and then stands still for the commit.
    """
    seconds = deployment.cpu_us_per_record / 1e6
    work = min(deployment.commit_interval_ms / 1e3, constants.RECORDS_PER_TRANSACTION * seconds)
    touched = _expected_partitions(work / seconds, deployment.reachable(workers))
    return work / (work + commit_seconds(deployment, touched)) / seconds


def cycle_of(deployment: Deployment, workers: int) -> Cycle:
    """Return the cycle of the worker that has most to do.

    A worker commits when nothing waits, and under load at the interval. What comes during a commit of ``c`` seconds
    keeps it busy for ``c * r / (1 - r)`` at a share ``r`` of its time per record, so a cycle without the interval is
    ``c / (1 - r)``; it is never shorter than the time between two records. The commit depends on how many partitions
    its records fall into, and these on the cycle: found by going on until both agree.
    """
    rate, seconds = deployment.rate(workers), deployment.cpu_us_per_record / 1e6
    longest = deployment.commit_interval_ms / 1e3
    reachable = deployment.reachable(workers)
    cycle = Cycle(longest, 0.0, rate * longest, reachable)
    for _ in range(_ROUNDS):
        commit = commit_seconds(deployment, cycle.touched)
        until_idle = commit / (1 - rate * seconds) if rate * seconds < 1 else float("inf")
        length = max(1 / rate, min(until_idle, longest + commit))
        records = max(1.0, rate * length)
        cycle = Cycle(length, commit, records, _expected_partitions(records, reachable))
    return cycle


def _expected_partitions(records: float, partitions: int) -> float:
    """Return into how many of ``partitions`` so many records fall, by chance.

    >>> round(_expected_partitions(1, 8), 6), round(_expected_partitions(8, 8), 1), round(_expected_partitions(1e4, 8))
    (1.0, 5.3, 8)
    """
    return partitions * (1 - (1 - 1 / partitions) ** records)
