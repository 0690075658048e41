"""Runs of one or more workers in processes of their own, which all begin at one moment."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from statistics import fmean
from uuid import uuid4

import msgspec
from confluent_kafka import Producer

from streamserve.dataflow.planning.topics import topic_specs
from streamserve.kafka.admin import Admin
from streamserve.settings import load_settings
from tests.benchmarks.scaling.worker import Event, Job, Report, build_app

_SECONDS = 600.0
_VALUES = 10_000


class Found(msgspec.Struct, frozen=True, kw_only=True):
    """What a run found, over its workers."""

    job: Job
    cpu_us: float
    """Processor time of the workers for each record, commits included."""
    commit_ms: float
    """How long a commit took at the median, on the mean of the workers."""
    commits: int
    rss_mib: float
    """Of the largest worker, at its end; its peak has what was fetched ahead."""
    peak_mib: float
    open_ms: float
    requests: dict[str, float]
    """Of one transaction, by kind."""


def measure(
    brokers: str, *, level: str, records: int, keys: int, partitions: int, workers: int, commit_interval_ms: int = 100
) -> Found:
    """Run ``workers`` over ``records``, spread evenly over ``partitions``.

    All records are written in one transaction, which is committed when every worker has its share of the partitions:
    so no worker begins before the others, and none waits for input.

    Raises:
        RuntimeError: a worker failed, or it took over ten minutes.
    """
    job = Job(
        app=f"scaling-{uuid4().hex[:8]}",
        brokers=brokers,
        level=level,
        records=records,
        keys=keys,
        partitions=partitions,
        workers=workers,
        commit_interval_ms=commit_interval_ms,
    )
    _create_topics(job)
    loader = _loaded(job)
    with _processes(job) as processes:
        _until_shared(processes, job)
        loader.commit_transaction()
        reports = [_report(process) for process in processes]
    _delete_topics(job)
    return _summary(job, reports)


def _summary(job: Job, reports: list[Report]) -> Found:
    measured = [report.measured for report in reports]
    return Found(
        job=job,
        cpu_us=sum(each.cpu_seconds for each in measured) / sum(each.records for each in measured) * 1e6,
        commit_ms=fmean(report.commit_seconds for report in reports) * 1e3,
        commits=sum(each.commits for each in measured),
        rss_mib=max(report.rss_mib for report in reports),
        peak_mib=max(report.peak_mib for report in reports),
        open_ms=max(report.open_ms for report in reports),
        requests={
            kind: sum(report.requests.get(kind, 0.0) for report in reports) / len(reports)
            for kind in sorted({kind for report in reports for kind in report.requests})
        },
    )


def _create_topics(job: Job) -> None:
    admin = Admin(load_settings(command_line={"bootstrap_servers": job.brokers}))
    admin.create(topic_specs(build_app(job).plan(), admin.partitions()), partitions=job.partitions)


def _delete_topics(job: Job) -> None:
    admin = Admin(load_settings(command_line={"bootstrap_servers": job.brokers}))
    admin.delete([name for name in admin.partitions() if name.startswith(job.app)])


def _loaded(job: Job) -> Producer:
    """Write the records, all in one transaction that stays open; return its producer."""
    producer = Producer(
        {
            "bootstrap.servers": job.brokers,
            "transactional.id": f"{job.app}-loader",
            "transaction.timeout.ms": int(_SECONDS * 1000),
            "linger.ms": 20,
            "batch.size": 1 << 18,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            "log_level": 3,
        }
    )
    producer.init_transactions(30)
    producer.begin_transaction()
    topic, values = f"{job.app}-in", [_value(number, job.keys) for number in range(min(_VALUES, job.keys))]
    for number in range(job.records):
        user = number // job.partitions % job.keys
        value = values[user] if job.keys <= _VALUES else _value(user, job.keys)
        while True:
            try:
                producer.produce(topic, value, b"%d" % user, number % job.partitions)
                break
            except BufferError:
                producer.poll(0.1)
        if number % 10_000 == 0:
            producer.poll(0)
    producer.flush()
    return producer


def _value(number: int, keys: int) -> bytes:
    third = round(number * 0.37 % 1, 3)
    return msgspec.json.encode(
        Event(number, number % keys, round(number * 0.13 % 977, 2), 1_700_000_000_000 + number, *(third,) * 6)
    )


@contextmanager
def _processes(job: Job) -> Generator[list[subprocess.Popen[str]]]:
    """Start the workers; end those that are left after the block."""
    told = msgspec.json.encode(job).decode()
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.scaling", "worker", told, str(number)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for number in range(job.workers)
    ]
    timer = threading.Timer(_SECONDS, lambda: [process.kill() for process in processes])
    timer.start()
    try:
        yield processes
    finally:
        timer.cancel()
        for process in processes:
            process.kill()
            process.wait()


def _until_shared(processes: list[subprocess.Popen[str]], job: Job) -> None:
    """Return when each worker has told that it owns its share of the partitions."""
    owned = [0] * len(processes)

    def listen(number: int, process: subprocess.Popen[str]) -> None:
        share = job.partitions // job.workers
        while owned[number] != share and process.stdout is not None and (line := process.stdout.readline()):
            owned[number] = int(line)

    threads = [threading.Thread(target=listen, args=item, daemon=True) for item in enumerate(processes)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if sum(owned) != job.partitions:
        raise RuntimeError(f"the workers share {owned} of {job.partitions} partitions: one of them failed")
    time.sleep(1.0)  # the last one's rebalance is over for all


def _report(process: subprocess.Popen[str]) -> Report:
    output, _ = process.communicate(timeout=_SECONDS)
    if process.returncode:
        raise RuntimeError(f"a worker ended with exit code {process.returncode}")
    return msgspec.json.decode(output.strip().splitlines()[-1], type=Report)
