"""A soak from its broker's start to its verdict."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from uuid import uuid4

import msgspec

from streamserve.broker.server import LocalBroker
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.kafka.admin import Admin, TopicSpec
from streamserve.ops.supervisor import PARENT_FD
from streamserve.settings import Settings
from streamserve.testing.verify.app import APP_VARIABLE, build_app, publish_model
from streamserve.testing.verify.feeding import Feeder
from streamserve.testing.verify.inputs import make_inputs
from streamserve.testing.verify.names import Names
from streamserve.testing.verify.workers import Launch, Workers
from tests.integration.evidence.soak.app import MODULE, WITHIN
from tests.integration.evidence.soak.load import Schedule, scheduled
from tests.integration.evidence.soak.processes import Sample, sample
from tests.integration.evidence.soak.reader import Latency, Reader
from tests.integration.evidence.soak.verdict import Aged, Judgement, aged, judge
from tests.integration.waiting import WaitTooLong, wait_until

__all__ = ["Options", "Report", "run_soak"]

PARTITIONS = 4
_SAMPLE_S = 2.0
_AFTERWARDS_S = 5.0
"""In which outcomes may come that should not."""
_PATIENCE_S = 300.0
_MEASURED = (0.4, 0.9)
"""Full speed is taken between these shares of what was written before the workers' start: they have joined by then."""
_KEPT_BYTES = 256 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """How long, how fast: ``rate`` inputs a second, or half of what ``measured`` inputs show to be full speed.

    One of ``workers`` is never killed; the others are in turn, one each ``kill_every_s`` seconds.
    """

    minutes: float
    workers: int
    kill_every_s: float
    measured: int
    rate: float | None
    seed: int

    @property
    def span_s(self) -> float:
        """Return over what latency is summed up: five minutes of thirty."""
        return self.minutes * 10


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that a soak has found; latencies in milliseconds."""

    minutes: float
    full_speed: float | None
    rate: float
    inputs: int
    kills: int
    lost: int
    duplicated: int
    latencies: Sequence[Latency]
    aged: Sequence[Aged]
    survivor: Sequence[Sample]
    """The worker that was never killed: a third through the soak, and at its end."""
    judgements: Sequence[Judgement]
    samples: Sequence[Sample]


@dataclass(slots=True)
class _Soak:
    """What a soak works with."""

    options: Options
    brokers: str
    names: Names
    workers: Workers
    _born: dict[int, float] = field(default_factory=dict[int, float])

    def full_speed(self) -> float:
        """Write inputs, start the workers, and return how many a second they answer, all of them together."""
        _tell(f"full speed: {self.options.measured} inputs")
        Feeder(self.brokers).ask(self.names, make_inputs(self.options.measured, self.options.seed))
        marks: list[float] = []
        with Reader(self.brokers, self.names, inputs=self.options.measured, span_s=1.0) as reader:
            self.start_all()
            for share in _MEASURED:
                wait_until(lambda share=share: reader.outcomes >= share * self.options.measured, "answers", _PATIENCE_S)
                marks.append(time.monotonic())
            wait_until(lambda: reader.outcomes >= self.options.measured, "all answers", _PATIENCE_S)
        return (_MEASURED[1] - _MEASURED[0]) * self.options.measured / (marks[1] - marks[0])

    def start_all(self) -> None:
        """Have all workers at work."""
        for number in range(self.options.workers):
            self.workers.start(number)
        wait_until(lambda: len(self.workers.ready()) == self.options.workers, "all workers ready", _PATIENCE_S)

    def look(self, at_s: float) -> list[Sample]:
        """Look at all workers, ``at_s`` after the soak began.

        Raises:
            OutageError: one has ended by itself.
        """
        self.workers.killed()
        found: list[Sample] = []
        for number, pid in self.workers.processes.items():
            age_s = at_s - self._born.setdefault(pid, at_s)
            if (one := sample(number, pid, at_s=at_s, age_s=age_s)) is not None:
                found.append(one)
        return found


def run_soak(options: Options) -> Report:
    """Run it, and judge.

    Raises:
        WaitTooLong: workers stood still for five minutes.
        OutageError: a worker ended by itself.
    """
    with TemporaryDirectory(prefix="soak-") as folder, LocalBroker() as broker:
        name = f"soak-{uuid4().hex[:8]}"
        with _workers(name, broker.address, Path(folder)) as workers:
            soak = _Soak(options, broker.address, Names(name), workers)
            if options.rate is None:
                return _run(soak, soak.full_speed())
            soak.start_all()
            return _run(soak, None)


def _run(soak: _Soak, full: float | None) -> Report:
    options = soak.options
    rate = options.rate if full is None else full / 2
    assert rate is not None
    first = options.measured if full is not None else 0
    seconds = options.minutes * 60
    count = round(seconds * rate)
    total = first + count
    _tell(f"{count} inputs, {rate:.0f} a second")
    with Reader(soak.brokers, soak.names, inputs=total, span_s=options.span_s) as reader:
        with scheduled(soak.brokers, soak.names, first, count, rate, options.seed) as schedule:
            reader.schedule = schedule
            samples, kills = _strike(soak, schedule, reader)
        with suppress(WaitTooLong):  # what is missing then is lost
            wait_until(lambda: reader.outcomes >= total, "an outcome of each input", _PATIENCE_S)
        time.sleep(_AFTERWARDS_S)
    killed = range(1, options.workers)
    around = seconds / 6
    ages = aged(samples, killed, early_s=seconds / 3, late_s=seconds - around, around_s=around)
    spans = [latency for latency in reader.latencies() if latency.answers]
    return Report(
        minutes=options.minutes,
        full_speed=full,
        rate=rate,
        inputs=total,
        kills=kills,
        lost=total - reader.outcomes,
        duplicated=reader.repeated,
        latencies=spans,
        aged=ages,
        survivor=_survivor(samples, [seconds / 3, seconds]),
        judgements=judge(ages, spans),
        samples=samples,
    )


def _strike(soak: _Soak, schedule: Schedule, reader: Reader) -> tuple[list[Sample], int]:
    """Look at the workers, and kill one in turn, until the schedule is over."""
    options, samples, kills = soak.options, list[Sample](), 0
    ends = schedule.begins + schedule.count / schedule.rate
    victims = options.workers - 1
    while (now := time.monotonic()) < ends:
        at_s = now - schedule.begins
        samples += soak.look(at_s)
        victim = 1 + kills % victims if victims else 0
        if victim and at_s >= (kills + 1) * options.kill_every_s and victim in soak.workers.ready():
            soak.workers.kill(victim)
            soak.workers.start(victim)
            kills += 1
            _tell(f"{at_s:.0f} s: kill {kills}, {schedule.first + schedule.due(now) - reader.outcomes} wait")
        time.sleep(_SAMPLE_S)
    return samples, kills


def _survivor(samples: Sequence[Sample], moments: Sequence[float]) -> list[Sample]:
    own = [one for one in samples if one.worker == 0]
    return [min(own, key=lambda one, at=at: abs(one.at_s - at)) for at in moments if own]


@contextmanager
def _workers(name: str, brokers: str, folder: Path) -> Generator[Workers]:
    """Give the workers of a new app, with its topics and its model."""
    plan = build_app(name, within=WITHIN).plan()
    publish_model(folder / "models")
    launch = Launch(
        [sys.executable, "-m", "streamserve", "run", MODULE, "--json-logs"],
        {
            **os.environ,
            APP_VARIABLE: name,
            "STREAMSERVE_BOOTSTRAP_SERVERS": brokers,
            "STREAMSERVE_MODEL_REGISTRY": str(folder / "models"),
            "STREAMSERVE_STATE_DIR": str(folder / "state"),
        },
        PARENT_FD,
    )
    specs = [_bounded(spec) for spec in topic_specs(plan, {}, partitions=PARTITIONS)]
    Admin(Settings(bootstrap_servers=brokers)).create(specs, partitions=PARTITIONS)
    with Workers(launch, folder) as workers:
        yield workers


def _bounded(spec: TopicSpec) -> TopicSpec:
    """Return a topic that keeps little, for the disk's sake, and whose changelog forgets soon what was deleted."""
    if spec.config.get("cleanup.policy") == "compact":
        more = {"delete.retention.ms": "60000", "segment.bytes": str(16 << 20)}
    else:
        more = {"retention.bytes": str(_KEPT_BYTES), "segment.bytes": str(64 << 20)}
    return replace(spec, config={**spec.config, **more})


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
