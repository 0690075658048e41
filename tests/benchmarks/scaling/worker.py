"""One measured worker: an app over a share of the partitions, until its share of the records is committed."""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import msgspec
from confluent_kafka import Producer

from streamserve import App, Binary, Stream
from streamserve.dataflow.running.worker import Worker
from streamserve.kafka.clients import KAFKA_CLIENTS, Clients
from streamserve.observer import Observer
from streamserve.settings import load_settings
from tests.benchmarks.meter import Measurement, Meter
from tests.benchmarks.workload import MODEL, MODELS


class Event(msgspec.Struct, gc=False):
    """An event with all that the model asks for: 137 bytes of JSON on average."""

    id: int
    user: int
    amount: float
    ts: int
    f0: float
    f1: float
    f2: float
    f3: float
    f4: float
    f5: float


class Scored(msgspec.Struct, gc=False):
    """What comes out for it."""

    id: int
    user: int
    probability: float
    label: bool
    version: str


class Job(msgspec.Struct, frozen=True, kw_only=True):
    """What all workers of a run do. ``level`` is ``score`` (declared) or ``table`` (an agent that counts by key)."""

    app: str
    brokers: str
    level: str
    records: int
    keys: int
    partitions: int
    workers: int
    commit_interval_ms: int = 100

    @property
    def share(self) -> float:
        """Records for each partition."""
        return self.records / self.partitions


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What one worker found: its measurement, how long its commits took at the median, its memory at the end."""

    measured: Measurement
    commit_seconds: float
    rss_mib: float
    peak_mib: float
    open_ms: float
    """From the assignment of its partitions until they are read."""
    requests: Mapping[str, float]
    """What each transaction asked brokers for, by kind."""


def build_app(job: Job) -> App:
    """Return the app."""
    app = App(job.app, model_registry=MODELS)
    events = app.topic(f"{job.app}-in", Event, key="user")
    scored = app.topic(f"{job.app}-out", Scored, key="user")
    if job.level == "score":
        app.score(events, model=app.model(MODEL, inputs=[Event], output=Binary), to=scored)
        return app
    seen = app.table("seen", int, key=int, default=int)

    @app.agent(events, to=scored)
    async def count(stream: Stream[Event]) -> AsyncIterator[Scored]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            number = seen.update(event.user, lambda count: count + 1)
            yield Scored(event.id, event.user, float(number), label=False, version="")

    return app


def run(job: Job, number: int) -> Report:
    """Work until this worker's share is committed; print each assignment, for the parent to wait for.

    Raises:
        RuntimeError: an incarnation ended or a record failed: what was measured is not the job.
    """
    app = build_app(job)
    settings = load_settings(
        app.settings,
        {
            "bootstrap_servers": job.brokers,
            "instance": f"{job.app}-{number}",
            "commit_interval": f"{job.commit_interval_ms}ms",
        },
    )
    watch, requests = _Watch(job), _Requests()
    clients = Clients(requests.producer, KAFKA_CLIENTS.consumer, KAFKA_CLIENTS.admin)
    worker = Worker(app.plan(), settings, observer=watch, clients=clients)
    watch.worker = worker
    worker.run()
    if watch.faults:
        raise RuntimeError("; ".join(watch.faults[:3]))
    measured = watch.meter.result()
    return Report(
        measured=measured,
        commit_seconds=median(watch.commit_seconds),
        rss_mib=round(watch.rss_mib, 1),
        peak_mib=round(_peak_mib(), 1),
        open_ms=watch.open_ms,
        requests={kind: count / (measured.commits + 1) for kind, count in requests.total().items()},
    )


def _peak_mib() -> float:
    """Return the largest memory of this program; ``getrusage`` would tell that of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split(maxsplit=1)[0]) / 1024


class _Requests:
    """Counts what producers ask brokers for, as their statistics say, to a fifth of a second."""

    def __init__(self) -> None:
        self._latest: dict[str, Counter[str]] = {}

    def producer(self, config: dict[str, Any]) -> Producer:
        """Make a producer that tells."""
        return Producer({**config, "statistics.interval.ms": 200, "stats_cb": self._tell})

    def _tell(self, told: str) -> None:
        statistics = json.loads(told)
        requests: Counter[str] = Counter()
        for broker in statistics["brokers"].values():
            requests.update(broker["req"])
        self._latest[statistics["name"]] = requests

    def total(self) -> Counter[str]:
        """Return how often each kind was asked for."""
        return Counter({kind: count for kind, count in sum(self._latest.values(), Counter[str]()).items() if count})


class _Watch(Observer):
    """Feeds the meter and stops the worker at its share."""

    worker: Worker

    def __init__(self, job: Job) -> None:
        self._job = job
        self._owned = 0
        self.meter = Meter(1)
        self.commit_seconds: list[float] = []
        self.faults: list[str] = []
        self.rss_mib = self.open_ms = self._assigned_at = 0.0

    def assigned(self, partitions: Mapping[str, Sequence[int]]) -> None:
        self._assigned_at = time.monotonic()
        self._owned = sum(map(len, partitions.values()))
        self.meter = Meter(round(self._owned * self._job.share))

    def ready(self, ready: bool, why: str) -> None:
        del why
        if ready:
            self.open_ms = (time.monotonic() - self._assigned_at) * 1e3
            print(self._owned, flush=True)

    def committed(self, records: int, seconds: float) -> None:
        self.meter.committed(records)
        self.commit_seconds.append(seconds)
        if self.meter.reached:
            self.rss_mib = int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / (1 << 20)
            self.worker.stop()

    def aborted(self, reason: str, message: str) -> None:
        self._fail(f"{reason}: {message}")

    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        self._fail(f"step {step!r} dead-lettered {records} records ({reason}: {message})")

    def _fail(self, fault: str) -> None:
        self.faults.append(fault)
        self.worker.stop()
