"""Runs the built-in app through a storm, judges it meanwhile and afterwards, and reports."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from itertools import islice
from pathlib import Path
from threading import Event, Thread
from typing import Final, Self

from streamserve.errors import StreamserveError
from streamserve.testing.reading import end_offsets
from streamserve.testing.verify.failing import Failing, Forced
from streamserve.testing.verify.feeding import Feeder
from streamserve.testing.verify.findings import Findings
from streamserve.testing.verify.history import Reading
from streamserve.testing.verify.inputs import Input, closing_inputs, make_inputs
from streamserve.testing.verify.judging import Judge, Judgement, judge
from streamserve.testing.verify.names import Names
from streamserve.testing.verify.storm import Feed, Progress, Storm
from streamserve.testing.verify.watching import Watched
from streamserve.testing.verify.workers import Launch, Workers

__all__ = ["ENVIRONMENT", "Options", "VerifyReport", "environment", "verify_built_in"]

ENVIRONMENT: Final = {
    "STREAMSERVE_COMMIT_INTERVAL": "5ms",
    "STREAMSERVE_MAX_POLL_RECORDS": "500",
    "STREAMSERVE_SESSION_TIMEOUT": "6s",
    "STREAMSERVE_TRANSACTION_TIMEOUT": "10s",
    "STREAMSERVE_IDLE_TIMEOUT": "600s",
    "TZ": "UTC",
}
"""Many small commits, so that kills meet them; and a pause between inputs closes no window before its time."""

_SETTLE_S: Final = 60.0
_QUIET_S: Final = 3.0
_PAUSE_S: Final = 2.0
_SHARE_OF_TIME: Final = 4
"""Beside the run, judging rests four times as long as it took: it must not slow down what it judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run consists of; all that is random follows from ``seed``, but for when processes get their turns.

    ``rescalings`` times the number of workers changes. At least ``aborts`` errors that ask for an abort and ``unknown``
    commits without an answer are aimed at; see ``Forced`` for what came about.
    """

    events: int
    kills: int
    workers: int
    seed: int
    rescalings: int = 0
    aborts: int = 0
    unknown: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What went through the app, what was done to it, and what was found.

    ``aborts`` and ``unknown`` count the recoveries that workers told of: what a killed one had not logged is missing.
    ``forced`` counts what was done to them. ``live`` is the number of judgements beside the run.
    """

    app: str
    options: Options
    events: int
    outcomes: int
    dead_letters: int
    kills: int
    aborts: int
    unknown: int
    forced: Forced
    rescalings: int
    seconds: float
    findings: Findings
    incarnations: int | None = None
    live: int = 0

    def as_dict(self) -> dict[str, object]:
        """Return plain data for JSON."""
        told = {
            "app": self.app,
            "events": self.events,
            "outcomes": self.outcomes,
            "dead_letters": self.dead_letters,
            "workers": self.options.workers,
            "seed": self.options.seed,
            "kills": self.kills,
            "aborts": self.aborts,
            "unknown": self.unknown,
            **self.forced.as_dict(),
            "rescalings": self.rescalings,
            "incarnations": self.incarnations,
            "live_judgements": self.live,
            "seconds": round(self.seconds, 1),
        }
        examples = {kind: texts for kind, texts in self.findings.examples.items() if texts}
        return {**told, **self.findings.counts, "anomalies": self.findings.anomalies, "examples": examples}


def environment(brokers: str, **more: str) -> dict[str, str]:
    """Return the environment of workers under test."""
    return {**os.environ, **ENVIRONMENT, "STREAMSERVE_BOOTSTRAP_SERVERS": brokers, **more}


@dataclass(slots=True)
class _Beside:
    """Judges again and again while the run goes on."""

    judge: Callable[[], Judgement]
    findings: Findings = field(default_factory=Findings)
    passes: int = 0
    _over: Event = field(default_factory=Event)
    _failure: StreamserveError | None = None
    _thread: Thread | None = None

    def __enter__(self) -> Self:
        self._thread = Thread(target=self._run, name="verify-beside", daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()

    def raise_failure(self) -> None:
        """Raise what kept it from judging."""
        if self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        pause = _PAUSE_S
        while not self._over.wait(pause):
            began = time.monotonic()
            try:
                self.findings.join(self.judge().findings)
            except StreamserveError as error:
                self._failure = error
                return
            self.passes += 1
            pause = max(_PAUSE_S, _SHARE_OF_TIME * (time.monotonic() - began))


def verify_built_in(
    brokers: str, names: Names, launch: Launch, options: Options, folder: Path, progress: Progress
) -> VerifyReport:
    """Send ``options.events`` inputs through the built-in app and its workers through a storm.

    The app's topics must exist, and be empty; ``folder`` takes the workers' logs.

    Raises:
        OutageError: a worker gave up, or nothing was committed any more.
        BrokerUnavailable: Kafka does not answer.
    """
    began = time.monotonic()
    with Workers(launch, folder) as workers:
        watched = Watched(brokers, names.app, [names.inputs])
        failing = Failing(random.Random(options.seed), workers.notes, options.aborts, options.unknown)  # noqa: S311 - no secret
        storm = Storm(workers, watched, failing, options.workers, progress, options.rescalings)
        reading, live = Reading(watched), Judge(names)
        with _Beside(lambda: live.read(reading.history(over=False))) as beside:
            storm.rage(_shares(Feeder(brokers), names, options, partitions=len(watched.ends())))
        beside.raise_failure()
        final = _settled(watched)
        watched.close()
        aborts, unknown = (workers.said(reason) for reason in ("TransactionAborted", "OutcomeUnknown"))
    final.findings.join(beside.findings)
    return VerifyReport(
        app=names.app,
        options=options,
        events=final.inputs,
        outcomes=final.outcomes,
        dead_letters=final.dead_letters,
        kills=storm.kills,
        aborts=aborts,
        unknown=unknown,
        forced=failing.look(),
        rescalings=storm.rescaled,
        incarnations=final.incarnations,
        live=beside.passes,
        seconds=time.monotonic() - began,
        findings=final.findings,
    )


def _shares(feeder: Feeder, names: Names, options: Options, *, partitions: int) -> list[Feed]:
    """Return what writes one share of the inputs after the other: one for each kill, and the rest."""
    inputs, count = make_inputs(options.events, options.seed), options.kills + 1
    sizes = [(place + 1) * options.events // count - place * options.events // count for place in range(count)]
    *struck, rest = (partial(_ask, feeder, names, inputs, size) for size in sizes)

    def end() -> None:
        rest()
        feeder.close(names, closing_inputs(options.events, partitions))

    return [*struck, end]


def _ask(feeder: Feeder, names: Names, inputs: Iterator[Input], count: int) -> None:
    feeder.ask(names, islice(inputs, count))


def _settled(watched: Watched) -> Judgement:
    """Judge until nothing is wrong, or nothing more can be expected to come."""
    _wait_until_quiet(watched)
    found = judge(Reading(watched).history(over=True))
    give_up = time.monotonic() + _SETTLE_S
    while found.findings.anomalies and time.monotonic() < give_up:
        time.sleep(1)
        found = judge(Reading(watched).history(over=True))
    return found


def _wait_until_quiet(watched: Watched) -> None:
    """Wait until nothing has been written for a while: what follows from outputs takes its time."""
    written, give_up = Names(watched.group).written, time.monotonic() + _SETTLE_S
    ends, since = end_offsets(watched.brokers, written), time.monotonic()
    while time.monotonic() < min(since + _QUIET_S, give_up):
        time.sleep(_PAUSE_S / 4)
        if (now := end_offsets(watched.brokers, written)) != ends:
            ends, since = now, time.monotonic()
