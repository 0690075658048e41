"""Runs a user's app twice on the same inputs, undisturbed and in a storm, and compares.

The inputs are copies of what stands on the app's input topics; both runs are on temporary brokers, where nothing of the
user's can be harmed. Side effects outside Kafka are the app's own, and happen.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import partial
from heapq import merge
from pathlib import Path
from typing import Final, TypeAlias

from streamserve.errors import OutageError, TopicError
from streamserve.testing.reading import ClientConfig, ReadRecord, end_offsets, iter_topic, read_topic
from streamserve.testing.verify.comparing import Comparison, compare
from streamserve.testing.verify.failing import Failing, Forced
from streamserve.testing.verify.feeding import Feeder
from streamserve.testing.verify.running import Options, VerifyReport
from streamserve.testing.verify.storm import Progress, Storm
from streamserve.testing.verify.watching import Watched
from streamserve.testing.verify.workers import Launch, Workers

__all__ = ["OwnApp", "read_inputs", "verify_own"]

_QUIET_S: Final = 5.0
_SETTLE_S: Final = 120.0

Kafka: TypeAlias = Callable[[], AbstractContextManager[str]]
"""Gives the address of a broker that is empty, with the app's topics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OwnApp:
    """An app as it is run: its name, what starts a worker on a broker, and what is compared."""

    name: str
    inputs: Sequence[str]
    launch: Callable[[str], Launch]
    kafka: Kafka
    compared: Comparison

    @property
    def written(self) -> Collection[str]:
        """The topics that are compared."""
        return [*self.compared.outputs, self.compared.dead_letters, *self.compared.changelogs]


def read_inputs(brokers: str, topics: Sequence[str], most: int, config: ClientConfig) -> list[ReadRecord]:
    """Return the first records of each of ``topics``, at most ``most``, as many of each partition.

    They come as their partitions have them, and between partitions in order of time.

    Raises:
        TopicError: a topic does not exist, or all are empty.
        BrokerUnavailable: no broker answers.
    """
    lanes: dict[tuple[str, int], list[ReadRecord]] = {}
    for topic in topics:
        for record in _first(brokers, topic, most, config):
            lanes.setdefault((topic, record.partition), []).append(record)
    if not lanes:
        raise TopicError(f"no records on {', '.join(topics)} at {brokers}: verify runs an app on copies of its inputs")
    return list(merge(*lanes.values(), key=lambda record: record.timestamp_ms))


def _first(brokers: str, topic: str, most: int, config: ClientConfig) -> Iterator[ReadRecord]:
    """Yield as many of the first records of each partition, at most ``most`` of all."""
    share = -(-most // len(end_offsets(brokers, [topic], config=config)))
    taken: Counter[int] = Counter()
    for record in iter_topic(brokers, topic, config=config):
        if taken.total() == most:
            return
        if taken[record.partition] < share:
            taken[record.partition] += 1
            yield record


def verify_own(
    app: OwnApp, records: Sequence[ReadRecord], options: Options, folder: Path, progress: Progress
) -> VerifyReport:
    """Run ``app`` on ``records`` with one worker undisturbed, then with many in a storm, and compare.

    Raises:
        OutageError: a worker gave up, or nothing was committed any more.
    """
    began = time.monotonic()
    calm, storm = _Run(app, records, options, folder, progress), _Run(app, records, options, folder, progress)
    expected = calm.written(calm=True)
    found = storm.written(calm=False)
    return VerifyReport(
        app=app.name,
        options=options,
        events=len(records),
        outcomes=sum(len(found[topic]) for topic in (*app.compared.outputs, app.compared.dead_letters)),
        dead_letters=len(found[app.compared.dead_letters]),
        kills=storm.kills,
        aborts=storm.aborts,
        unknown=storm.unknown,
        forced=storm.forced,
        rescalings=storm.rescaled,
        seconds=time.monotonic() - began,
        findings=compare(expected, found, app.compared),
    )


@dataclass(slots=True)
class _Run:
    """One way through all inputs."""

    app: OwnApp
    records: Sequence[ReadRecord]
    options: Options
    folder: Path
    progress: Progress
    kills: int = 0
    aborts: int = 0
    unknown: int = 0
    rescaled: int = 0
    forced: Forced = field(default_factory=Forced)

    def written(self, *, calm: bool) -> Mapping[str, list[ReadRecord]]:
        """Run, and return what was written."""
        folder = self.folder / ("calm" if calm else "storm")
        folder.mkdir(exist_ok=True)
        with self.app.kafka() as brokers:
            feeder = Feeder(brokers)
            size = -(-len(self.records) // (self.options.kills + 1))
            starts = range(0, len(self.records), size)
            shares = [partial(feeder.copy, self.records[at : at + size]) for at in starts]
            with Workers(self.app.launch(brokers), folder) as workers:
                self._drive(workers, brokers, shares, calm=calm)
                return {topic: read_topic(brokers, topic) for topic in self.app.written}

    def _drive(self, workers: Workers, brokers: str, shares: Sequence[Callable[[], None]], *, calm: bool) -> None:
        chance = random.Random(self.options.seed)  # noqa: S311 - no secret
        watched = Watched(brokers, self.app.name, self.app.inputs)
        options = self.options
        failing = Failing(chance, workers.notes, options.aborts, options.unknown)
        storm = Storm(workers, watched, failing, options.workers, self.progress, options.rescalings)
        try:
            (storm.calm if calm else storm.rage)(shares)
        finally:
            watched.close()
        self._wait_until_quiet(brokers)
        self.kills, self.rescaled, self.forced = storm.kills, storm.rescaled, failing.look()
        self.aborts, self.unknown = (workers.said(reason) for reason in ("TransactionAborted", "OutcomeUnknown"))

    def _wait_until_quiet(self, brokers: str) -> None:
        """Wait until nothing has been written for a while: what follows from outputs takes its time."""
        ends, since, began = end_offsets(brokers, [*self.app.written]), time.monotonic(), time.monotonic()
        while time.monotonic() - since < _QUIET_S:
            time.sleep(0.5)
            now = end_offsets(brokers, [*self.app.written])
            if now != ends:
                ends, since = now, time.monotonic()
            if time.monotonic() - began > _SETTLE_S:
                raise OutageError(
                    f"the app still writes {_SETTLE_S:g} s after its last input: verify cannot compare it"
                )
