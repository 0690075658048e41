"""Runs the built-in app through a storm, judges it meanwhile and afterwards, and reports."""

from __future__ import annotations

import os
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from threading import Event, Thread
from typing import Final, Self

from streamserve.errors import StreamserveError
from streamserve.testing.verify.feeding import Feeder
from streamserve.testing.verify.findings import Findings
from streamserve.testing.verify.history import read_history
from streamserve.testing.verify.inputs import closing_inputs, make_inputs
from streamserve.testing.verify.judging import Judgement, judge
from streamserve.testing.verify.names import Names
from streamserve.testing.verify.storm import Progress, Storm
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
_PAUSE_S: Final = 2.0
_SHARE_OF_TIME: Final = 4
"""Beside the run, judging rests four times as long as it took: it must not slow down what it judges."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What a run consists of; all that is random follows from ``seed``, but for when processes get their turns."""

    events: int
    kills: int
    workers: int
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """What went through the app, what was done to it, and what was found.

    ``aborts`` and ``unknown`` count the recoveries that workers told of: what a killed one had not logged is missing.
    ``live`` is the number of judgements beside the run.
    """

    app: str
    options: Options
    events: int
    outcomes: int
    dead_letters: int
    kills: int
    aborts: int
    unknown: int
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
    feeder, chance = Feeder(brokers), random.Random(options.seed)  # noqa: S311 - no secret
    inputs = list(make_inputs(options.events, options.seed))
    size = -(-len(inputs) // (options.kills + 1))
    shares = [partial(feeder.ask, names, inputs[at : at + size]) for at in range(0, len(inputs), size)]
    with Workers(launch, folder) as workers:
        watched = Watched(brokers, names.app, [names.inputs])
        storm = Storm(workers, watched, chance, options.workers, progress)
        with _Beside(lambda: judge(read_history(watched, over=False))) as beside:
            storm.rage([*shares, lambda: _close(feeder, brokers, names, options.events)])
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
        incarnations=final.incarnations,
        live=beside.passes,
        seconds=time.monotonic() - began,
        findings=final.findings,
    )


def _close(feeder: Feeder, brokers: str, names: Names, events: int) -> None:
    from streamserve.testing.reading import end_offsets

    feeder.close(names, closing_inputs(events, len(end_offsets(brokers, [names.inputs]))))


def _settled(watched: Watched) -> Judgement:
    """Judge until nothing is wrong, or nothing more can be expected to come."""
    give_up = time.monotonic() + _SETTLE_S
    while (found := judge(read_history(watched, over=True))).findings.anomalies:
        if time.monotonic() > give_up:
            break
        time.sleep(1)
    return found
