"""The sizing model beside what was measured, and its constants from what was measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from streamserve.ops.sizing import Deployment
from streamserve.ops.sizing.cycle import Cycle, commit_seconds
from streamserve.ops.sizing.requests import requests_of
from tests.benchmarks.scaling.runs import Found

_STATE = "table"


def predicted(found: Found) -> dict[str, float]:
    """Return what the model says of a commit like those measured: its time and its requests.

    The load is what was there, not a rate: a cycle of as many records as the transactions had.
    """
    job = found.job
    deployment = Deployment(
        records_per_second=1e6 / found.cpu_us,
        partitions=job.partitions,
        cpu_us=found.cpu_us,
        commit_interval_ms=job.commit_interval_ms,
        state_keys=job.keys if job.level == _STATE else 0,
        replication=1,
        round_trip_ms=0.0,
    )
    records = job.records / (found.commits + job.workers)
    touched = min(deployment.reachable(job.workers), records)
    seconds = commit_seconds(deployment, touched)
    cycle = Cycle(seconds + job.commit_interval_ms / 1e3, seconds, records, touched)
    asked = requests_of(deployment, cycle)
    return {"commit_ms": round(seconds * 1e3, 1), "requests": round(asked.of_the_client, 1), "Produce": asked.produce}


def fit(found: Sequence[Found]) -> dict[str, float]:
    """Return the constants: a line through the commits' times by partitions, and processor time by records and commits.

    Raises:
        ValueError: fewer than two numbers of partitions were measured.
    """
    partitions = np.array([each.job.partitions for each in found], float)
    if len(set(partitions)) < 2:
        raise ValueError("one number of partitions draws no line: measure two or more")
    slope, start = np.polyfit(partitions, [each.commit_ms for each in found], 1)
    records = np.array([each.job.records for each in found], float)
    done = np.array([each.commits for each in found], float)
    sides = np.stack([records, done, done * partitions], axis=1)
    cpu_us = np.array([each.cpu_us for each in found]) * records
    record, commit, partition = np.linalg.lstsq(sides, cpu_us, rcond=None)[0]
    return {
        "COMMIT_MS": round(float(start), 2),
        "PARTITION_MS": round(float(slope), 3),
        "record_us": round(float(record), 2),
        "commit_cpu_us": round(float(commit)),
        "partition_cpu_us": round(float(partition), 1),
        "OPEN_PARTITION_MS": round(max(each.open_ms / each.job.partitions for each in found[-2:]), 2),
    }
