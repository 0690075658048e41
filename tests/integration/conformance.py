"""Runs one app on the in-memory harness and on a real broker, phase by phase, and tells what a reader sees of each.

What has to be equal, as a ``read_committed`` reader sees it: partition, key, value and headers of every record of every
topic that the app writes, in order, and the last value of each key of its changelogs. Left out are timestamps of
outputs, which the producer's clock sets, offsets, and the internal topics of regrouping, which hold markers of progress
besides events. Not compared either is how records interleave that nothing orders: those of several input partitions in
one output partition (``Case.unordered``), and dead letters, which are taken by step and in the order of their sources;
and of a label join's changelog the metrics, which its reports tell.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple, Self, TypeAlias, cast

import pytest
from confluent_kafka import OFFSET_BEGINNING, Consumer, TopicPartition

from streamserve import App, Topic
from streamserve.clock import SystemClock
from streamserve.dataflow.planning.declared import Declared
from streamserve.dataflow.running.worker import Worker
from streamserve.durations import Duration, to_milliseconds
from streamserve.kafka.calls import When
from streamserve.testing import Harness
from streamserve.testing.faults import FaultSwitch, parse_faults
from streamserve.testing.harness import Fault
from streamserve.testing.reading import read_topic
from tests.integration.driving import FORKS
from tests.integration.running import Input, Running, create_topics, send, settings_of
from tests.integration.waiting import PATIENCE_S

START = datetime(2024, 1, 1, tzinfo=UTC)
_ORIGIN = ("step", "window", "source-topic", "source-partition", "source-offset")
_JUST_AS_IN_JAVA = {"partitioner": "murmur2_random"}


class Outcome(NamedTuple):
    """A record of an output as it is compared."""

    partition: int
    key: bytes | None
    value: bytes | None
    headers: Mapping[str, bytes]


Outcomes: TypeAlias = Mapping[str, Sequence[Outcome]]
"""What stands in each topic, in the order that is compared."""


@dataclass(frozen=True, slots=True)
class Phase:
    """Records that are there together, by topic, after the clock has been moved on by ``jump``.

    Those of a global table are of keys that it has not got yet: that they are read shows in its size alone.

    The next phase begins when this one has come to the same on both sides.
    """

    given: Mapping[str, Sequence[Input]] = field(default_factory=dict[str, Sequence[Input]])
    jump: Duration = "0s"


@dataclass(frozen=True, slots=True)
class Case:
    """An app, what it is given, and what of the topics that it writes has no order of its own.

    ``unordered`` tells topics whose records interleave differently with every cut of the input into batches: what came
    to nothing in time (lone rows of a join, labels given up) is told behind what the same batch has matched, and what
    several input partitions write to one is in any order. Metrics since the beginning are left out of them, and the
    figures of others rounded. ``idle_timeout`` is by default so long that neither side takes a pause for the end of a
    partition. ``settings`` are further ones of the worker on the broker.
    """

    app: App
    phases: Sequence[Phase]
    partitions: int = 3
    unordered: Sequence[str] = ()
    idle_timeout: str = "1h"
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def outputs(self) -> list[str]:
        """Return the topics that are compared record by record."""
        plan = self.app.plan()
        inputs = {topic for phase in self.phases for topic in phase.given}
        own = [topic for topic in plan.topics if topic not in inputs and plan.topics[topic].upstream is None]
        kept = [topic for topic in plan.engine_topics() if not topic.endswith(("-changelog", "-regrouped"))]
        return sorted({*own, *kept})

    @property
    def all_settings(self) -> Mapping[str, Any]:
        """Return what the worker on the broker is to be told."""
        return {"idle_timeout": self.idle_timeout, **self.settings}

    @property
    def changelogs(self) -> list[str]:
        """Return the topics that are compared as what they come to."""
        return sorted(topic for topic in self.app.plan().engine_topics() if topic.endswith("-changelog"))

    def comparable(self, topic: str, found: Iterable[Outcome]) -> list[Outcome]:
        """Return records of ``topic``, in the order in which they were written, in the order that is compared."""
        if topic in self.changelogs:
            last = {(one.partition, one.key): _without_pickles(topic, one) for one in found}
            return sorted((one for one in last.values() if one.value is not None), key=lambda one: one[:2])
        if topic in self.unordered:
            settled = [_rounded(one) for one in found if not _is_running_report(one)]
            return sorted(settled, key=lambda one: (one.partition, one.key or b"", one.value or b""))
        return sorted(found, key=lambda one: (one.partition, _origin(one)))


def _without_pickles(topic: str, outcome: Outcome) -> Outcome:
    """Leave out the metrics of a label join: the pickled dicts in them keep the order in which classes came."""
    is_scope = topic.endswith("-labels-changelog") and (outcome.key or b"").startswith(b"s")
    return outcome._replace(value=b"metrics") if is_scope and outcome.value is not None else outcome


def _is_running_report(outcome: Outcome) -> bool:
    """Return whether it tells metrics since the beginning: how often, and so of how many, goes by batches."""
    value = outcome.value or b""
    return value.startswith(b'{"kind":"metrics"') and b'"window_start":null' in value


def _rounded(outcome: Outcome) -> Outcome:
    """Round the figures of a report: sums of batches differ in the last digit by how rows were cut into them."""
    value = outcome.value or b""
    if not value.startswith(b'{"kind":"metrics"'):
        return outcome
    report = json.loads(value, parse_float=lambda figure: round(float(figure), 9))
    return outcome._replace(value=json.dumps(report).encode())


def _origin(outcome: Outcome) -> tuple[bytes | int, ...]:
    """Return what of a dead letter tells where it came from; nothing of other records."""
    step, window, topic, partition, offset = (outcome.headers.get(name, b"") for name in _ORIGIN)
    return (step, window, topic, partition, int(offset or 0))


def on_the_harness(case: Case, faults: Sequence[Fault] = (), restart_before: int = 0) -> list[Outcomes]:
    """Return what is to be seen after each phase; ``faults`` strike in the second and those after it, one in each.

    None strikes where the clock jumps: timers' times that pass while a worker begins anew are not made up for. Before
    phase ``restart_before`` (from 1 on) the app is stopped, and another goes on.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("STREAMSERVE_IDLE_TIMEOUT", case.idle_timeout)
        return _phase_by_phase(case, list(faults), restart_before)


def _phase_by_phase(case: Case, faults: list[Fault], restart_before: int) -> list[Outcomes]:
    seen: list[Outcomes] = []
    harness = Harness(case.app, partitions=case.partitions, now=START)
    harness.__enter__()
    try:
        for number, phase in enumerate(case.phases):
            if number and number == restart_before:
                harness.__exit__(None, None, None)
                harness = Harness(case.app, partitions=case.partitions, after=harness)
                harness.__enter__()
            if number and faults and not to_milliseconds(phase.jump):
                harness.fault(faults.pop(0))
            _run_phase(harness, case.app, phase)
            seen.append(_seen_on_harness(harness, case))
    finally:
        harness.__exit__(None, None, None)
    return seen


def _run_phase(harness: Harness, app: App, phase: Phase) -> None:
    if to_milliseconds(phase.jump):
        harness.advance(phase.jump)
    nodes = app.plan().topics
    with harness.together():
        for name, given in phase.given.items():
            topic = Topic[Any, Any](nodes[name], Declared(app.name))
            for item in given:
                harness.send_bytes(
                    topic,
                    item.value
                    if item.value is None or isinstance(item.value, bytes)
                    else json.dumps(item.value).encode(),
                    key=item.key,
                    timestamp=START + timedelta(milliseconds=item.timestamp_ms - START.timestamp() * 1000),
                    partition=None if item.partition < 0 else item.partition,
                    headers=dict(item.headers),
                )
    for _ in range(4):  # markers of regrouped topics go round, part by part
        harness.advance("2s")


def _seen_on_harness(harness: Harness, case: Case) -> Outcomes:
    return {
        topic: case.comparable(
            topic,
            (
                Outcome(record.partition() or 0, record.key(), record.value(), _headers(record.headers() or ()))
                for record in harness.read_bytes(topic)
            ),
        )
        for topic in (*case.outputs, *case.changelogs)
    }


def _headers(pairs: Iterable[tuple[str, Any]]) -> Mapping[str, bytes]:
    return {name: value if isinstance(value, bytes) else str(value).encode() for name, value in pairs}


class JumpingClock(SystemClock):
    """The time of day stands still but for jumps; the monotonic clock is the machine's."""

    def __init__(self) -> None:
        self._now_ms = round(START.timestamp() * 1000)

    def now_ms(self) -> int:
        """Return the time of day."""
        return self._now_ms

    def jump(self, by: Duration) -> None:
        """Move it on."""
        self._now_ms += to_milliseconds(by)


class Follower:
    """Reads topics on, committed records only, and keeps all that it has read."""

    def __init__(self, brokers: str, topics: Mapping[str, int]) -> None:
        self.records: dict[str, list[Outcome]] = {topic: [] for topic in topics}
        self._consumer = Consumer(
            {
                "bootstrap.servers": brokers,
                "group.id": "conformance",  # nothing joins it
                "enable.auto.commit": False,
                "isolation.level": "read_committed",
                "fetch.wait.max.ms": 10,
                "fetch.queue.backoff.ms": 5,
            }
        )
        self._consumer.assign(
            [
                TopicPartition(topic, partition, OFFSET_BEGINNING)
                for topic, partitions in topics.items()
                for partition in range(partitions)
            ]
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._consumer.close()

    def read(self, seconds: float) -> None:
        """Take what is there, or what comes within ``seconds``."""
        for message in self._consumer.consume(1_000, seconds):
            if message.error() is None:
                headers = _headers(cast("Sequence[tuple[str, Any]]", message.headers() or ()))
                outcome = Outcome(message.partition() or 0, message.key(), message.value(), headers)
                self.records[message.topic() or ""].append(outcome)


class _DiesOnCue:
    """A hook that lets the process die, as ``kill -9`` would, before the first commit after ``cue`` is there."""

    def __init__(self, cue: Path) -> None:
        self._cue = cue

    def __call__(self, name: str, when: When) -> None:
        if (name, when) == ("producer.commit_transaction", "before") and self._cue.exists():
            os.kill(os.getpid(), signal.SIGKILL)


def _run_to_death(build: Callable[[str, Path], Case], app: str, brokers: str, folder: Path, cue: Path) -> None:
    """Be a worker's process."""
    case = build(app, folder)
    settings = settings_of(case.app, brokers, **case.all_settings)
    Worker(case.app.plan(), settings, hook=_DiesOnCue(cue), clock=JumpingClock()).run()


class OnBroker:
    """A case on a real broker: its topics, a reader of them, and one worker after the other."""

    def __init__(self, case: Case, brokers: str) -> None:
        create_topics(case.app, brokers, partitions=case.partitions)
        self._case = case
        self._brokers = brokers
        self._clock = JumpingClock()
        self._topics = (*case.outputs, *case.changelogs)
        self._follower = Follower(brokers, dict.fromkeys(self._topics, case.partitions))
        self._sent = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._follower.__exit__()

    def run(self, phases: range, expected: Sequence[Outcomes], faults: str = "") -> None:
        """Run a worker through ``phases``, each until it has come to what is ``expected`` of it.

        The records of the first are there before the worker is. ``faults`` befall it, as ``parse_faults`` reads them.
        """
        taken = self._held_before(phases[0])
        self.begin(phases[0])
        hook = FaultSwitch(parse_faults(faults))
        with Running(self._case.app, self._brokers, hook=hook, clock=self._clock, **self._case.all_settings) as running:
            for number in phases:
                self.begin(number)
                taken.update({topic: len(given) for topic, given in self._case.phases[number].given.items()})
                self.wait_for(expected[number], lambda: running.recorder.taken >= taken)

    def die(
        self,
        build: Callable[[str, Path], Case],
        expected: Sequence[Outcomes],
        folder: Path,
        seconds: float = PATIENCE_S,
    ) -> None:
        """Run a worker in a process of its own through the first phase; it dies by SIGKILL in the midst of the second.

        Nothing of the second is committed by then. ``build`` makes the case anew in that process.
        """
        self.begin(0)
        cue = folder / "die"
        worker = FORKS.Process(target=_run_to_death, args=(build, self._case.app.name, self._brokers, folder, cue))
        worker.start()
        try:
            self.wait_for(expected[0])
            cue.touch()
            self.begin(1)
            worker.join(seconds)
            if worker.exitcode != -signal.SIGKILL:
                raise AssertionError(f"the worker has not died in a commit, but ended with {worker.exitcode}")
        finally:
            worker.kill()
            worker.join()

    def begin(self, number: int) -> None:
        """Send the records of a phase, unless that was done."""
        if number < self._sent:
            return
        self._sent = number + 1
        self._clock.jump(self._case.phases[number].jump)
        for topic, given in self._case.phases[number].given.items():
            send(self._brokers, topic, given, _JUST_AS_IN_JAVA)

    def _held_before(self, number: int) -> Counter[str]:
        """Return how many keys the global tables have before a phase."""
        tables = self._case.app.plan().global_tables
        earlier = self._case.phases[:number]
        return Counter({topic: sum(len(phase.given.get(topic, ())) for phase in earlier) for topic in tables})

    def wait_for(self, expected: Outcomes, done: Callable[[], bool] = lambda: True) -> None:
        """Wait until it is all there, and ``done``.

        Raises:
            AssertionError: it does not come.
        """
        give_up = time.monotonic() + PATIENCE_S
        while time.monotonic() < give_up:
            self._follower.read(0.02)
            found = self._follower.records
            enough = all(len(found[topic]) >= len(wanted) for topic, wanted in expected.items())
            if enough and done() and self._comparable(found) == expected:
                return
        wrong = differences(expected, self._comparable(self._follower.records))
        raise AssertionError("\n".join(wrong or ["not all was read that was sent"]))

    def _comparable(self, records: Mapping[str, Sequence[Outcome]]) -> Outcomes:
        return {topic: self._case.comparable(topic, found) for topic, found in records.items()}

    def seen(self) -> Outcomes:
        """Return what there is, read anew from beginning to end."""
        return self._comparable(
            {
                topic: [
                    Outcome(r.partition, r.key, r.value, _headers(r.headers)) for r in read_topic(self._brokers, topic)
                ]
                for topic in self._topics
            }
        )


def differences(expected: Outcomes, found: Outcomes) -> list[str]:
    """Return what differs, topic by topic: the first record that does, and how many there are."""
    said: list[str] = []
    for topic, wanted in expected.items():
        have = found[topic]
        if wanted == have:
            continue
        place = next(
            (n for n, pair in enumerate(zip(wanted, have, strict=False)) if pair[0] != pair[1]),
            min(len(wanted), len(have)),
        )
        said.append(
            f"{topic}: {len(wanted)} records on the harness, {len(have)} on the broker; at {place}:\n"
            f"  harness {wanted[place : place + 3]}\n  broker  {have[place : place + 3]}"
        )
    return said
