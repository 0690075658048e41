"""One trial: an engine, started afresh on a topic of its own, and what it did."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import msgspec
import numpy as np
from confluent_kafka import Consumer, TopicPartition

from streamserve.errors import StreamserveError
from streamserve.kafka.admin import Admin, TopicSpec
from streamserve.settings import load_settings
from tests.benchmarks import latency
from tests.benchmarks.compare.engines import Engine, Program
from tests.benchmarks.compare.job import Job
from tests.benchmarks.compare.outputs import Outputs, WrongOutputs, check, read_outputs
from tests.benchmarks.compare.processes import Running, Usage, running
from tests.benchmarks.latency import Latency
from tests.benchmarks.workload import PARTITIONS, load_numbered

_LOOK_EVERY_S = 0.2
_ANSWER_S = 30.0
_QUIET_S = 1.0
"""An engine has finished when it has written enough and then nothing for this time."""
_SECOND_LOOK_S = 10.0
"""How long an engine may take for outputs that are missing although nothing has moved."""
_STALLED_S = 120.0
"""How long one may write nothing before it has; Faust takes its time to start."""
_TAIL = 0.05
"""The share of events at the end that does not count: batches shrink there."""
_COOL_S = 0.3
"""The share of the time at a rate that does not count: the engine gets used to the rate."""


class TrialFailed(StreamserveError):
    """An engine did not do the job; the text has what it said last."""


class Throughput(msgspec.Struct, frozen=True, kw_only=True):
    """What an engine did in the middle of its work; processor time in microseconds a record, memory in MiB."""

    records: int
    per_second: float
    cpu_us: float
    memory_mib: float
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where trials take place; ``sources`` are topics of events by how many there are, ``truth`` what comes of them."""

    brokers: str
    features: Path
    sources: Mapping[int, str]
    truth: Mapping[int, Outputs]


@dataclass(frozen=True, slots=True)
class Contender:
    """An engine that is ready to run here, with how many events it gets where throughput is measured."""

    name: str
    engine: Engine
    program: Program
    events: int


def create_topic(brokers: str, topic: str) -> None:
    """Create a topic in which the broker notes when it took each record."""
    spec = TopicSpec(topic, PARTITIONS, {"message.timestamp.type": "LogAppendTime"}, "comparison")
    _admin(brokers).create([spec], partitions=PARTITIONS)


def delete_topics(brokers: str, topics: Sequence[str]) -> None:
    """Delete topics."""
    _admin(brokers).delete(topics)


def measure_throughput(contender: Contender, place: Place) -> Throughput:
    """Let an engine score all events of a topic and measure it from the end of its warm-up on.

    Raises:
        TrialFailed: it ended, or wrote nothing for two minutes, or something else than it had to.
    """
    source, truth = place.sources[contender.events], place.truth[contender.events]
    with TemporaryDirectory(prefix="streamserve-compare-") as folder:
        job = _job(contender, place, source, Path(folder), quick=False)
        create_topic(place.brokers, job.target)
        with running(contender.program.command, job.as_environment(), Path(folder)) as process:
            found = _all_outputs(contender, job, process)
        try:
            digest = check(found, truth)
        except WrongOutputs as error:
            raise TrialFailed(f"{contender.name}: {error}") from error
        delete_topics(place.brokers, [job.target])
    return measured(found, process.usage, contender.engine.warm_up, digest)


def _all_outputs(contender: Contender, job: Job, process: Running) -> Outputs:
    """Return what an engine has written when that is enough, or when it makes no more of it."""
    before = -1
    while True:
        _wait_for(contender, job, process, contender.events)
        found = read_outputs(job.brokers, job.target)
        if len(found.ids) >= contender.events or len(found.ids) == before:
            return found
        before = len(found.ids)
        time.sleep(_SECOND_LOOK_S)


def measured(found: Outputs, usage: Usage, warm_up: float, digest: str) -> Throughput:
    """Return what an engine did between the broker's taking of one output and of another.

    Raises:
        TrialFailed: that was no time.
    """
    times = np.sort(found.times)
    began, ended = int(times[int(len(times) * warm_up)]), int(times[int((len(times) - 1) * (1 - _TAIL))])
    records = int(((times > began) & (times <= ended)).sum())
    if not records:
        raise TrialFailed(f"all of {len(times):,} outputs came at once: measure more events")
    return Throughput(
        records=records,
        per_second=records / (ended - began) * 1e3,
        cpu_us=usage.cpu_between(began / 1e3, ended / 1e3) / records * 1e6,
        memory_mib=usage.most_resident() / 2**20,
        digest=digest,
    )


def measure_latency(
    contender: Contender, place: Place, rates: Sequence[int], *, seconds: float, warm_up_events: int
) -> dict[int, Latency]:
    """Let an engine serve events at one rate after the other, after a burst of ``warm_up_events``.

    Rates are left out from the first on that the engine can't keep up with.

    Raises:
        TrialFailed: it ended, or did not get through the burst.
    """
    with TemporaryDirectory(prefix="streamserve-compare-") as folder:
        job = _job(contender, place, f"compare-in-{uuid4().hex[:8]}", Path(folder), quick=True)
        for topic in (job.source, job.target):
            create_topic(place.brokers, topic)
        with running(contender.program.command, job.as_environment(), Path(folder)) as process:
            load_numbered(place.brokers, job.source, range(warm_up_events))
            _wait_for(contender, job, process, warm_up_events)
            found = dict(_rate_after_rate(job, sorted(rates), seconds, warm_up_events))
            if process.has_ended:
                raise TrialFailed(f"{contender.name} ended: {process.last_words()}")
        delete_topics(place.brokers, [job.source, job.target])
    return found


def _rate_after_rate(job: Job, rates: Sequence[int], seconds: float, first: int) -> Iterator[tuple[int, Latency]]:
    """Yield the latency at each rate, events numbered from ``first``; end where the engine does not keep up."""
    for rate in rates:
        delays = _at_rate(job, rate, seconds, first)
        if delays is None:
            return
        yield rate, delays
        first += int(rate * seconds)


def _at_rate(job: Job, rate: int, seconds: float, first: int) -> Latency | None:
    uncounted_s = _COOL_S * seconds
    try:
        return latency.measure(
            job.brokers, job.source, job.target, rate=rate, seconds=seconds, warm_up_s=uncounted_s, first=first
        )
    except latency.LatencyError:
        return None


def _wait_for(contender: Contender, job: Job, process: Running, goal: int) -> None:
    """Wait until ``goal`` outputs are there, which are fewer than offsets, for transactions leave marks among them."""
    with _watching(job) as written:
        ends, since = 0, time.monotonic()
        while ends < goal or time.monotonic() - since < _QUIET_S:
            if process.has_ended:
                raise TrialFailed(f"{contender.name} ended: {process.last_words()}")
            if time.monotonic() - since > _STALLED_S:
                raise TrialFailed(f"{contender.name} has written {ends:,} of {goal:,}: {process.last_words()}")
            time.sleep(_LOOK_EVERY_S)
            found = written()
            if found != ends:
                ends, since = found, time.monotonic()


@contextmanager
def _watching(job: Job) -> Generator[Callable[[], int]]:
    """Give a function that returns the sum of the target's end offsets, at little cost: one client asks."""
    consumer = Consumer({"bootstrap.servers": job.brokers, "group.id": job.app, "isolation.level": "read_uncommitted"})
    places = [TopicPartition(job.target, number) for number in range(PARTITIONS)]
    try:
        yield lambda: sum(consumer.get_watermark_offsets(place, _ANSWER_S)[1] for place in places)
    finally:
        consumer.close()


def _job(contender: Contender, place: Place, source: str, folder: Path, *, quick: bool) -> Job:
    engine, mark = contender.engine, uuid4().hex[:8]
    return Job(
        brokers=place.brokers,
        source=source,
        target=f"compare-out-{mark}",
        app=f"compare-{contender.name.replace('_', '-')}-{mark}",
        commit_ms=engine.quick_commit_ms if quick else engine.commit_ms,
        folder=folder,
        features=place.features,
        quick=quick,
    )


def _admin(brokers: str) -> Admin:
    return Admin(load_settings(command_line={"bootstrap_servers": brokers}))
