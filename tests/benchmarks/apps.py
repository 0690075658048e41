"""The same job written for the engine: declared, as a one-event agent, and with Feast."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Literal, TypeAlias

from streamserve import App, Binary, Model, Stream
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.dataflow.running.worker import Worker
from streamserve.dataflow.runtime import OpenReader
from streamserve.features.memory import MatrixReader, MemoryReader
from streamserve.kafka.admin import Admin
from streamserve.observer import Observer
from streamserve.settings import load_settings
from tests.benchmarks.meter import Measurement, Meter
from tests.benchmarks.serving import announce, when_input_ends
from tests.benchmarks.workload import (
    FEATURES,
    MODEL,
    MODELS,
    PARTITIONS,
    SERVICE,
    Scored,
    Transaction,
    feature_matrix,
)

Level: TypeAlias = Literal["score", "agent"]
"""How the app is written: ``app.score``, or an agent that sees one event at a time."""


def build_app(level: Level, source: str, target: str, *, monitored: bool = True) -> App:
    """Return an app of its own name that scores ``source`` into ``target``; ADWIN sees each result if ``monitored``."""
    app = App(f"bench-{level}-{uuid.uuid4().hex[:8]}", model_registry=MODELS)
    transactions = app.topic(source, Transaction, key="user")
    scored = app.topic(target, Scored, key="user")
    features = app.features(SERVICE, event=Transaction)
    model = app.model(MODEL, inputs=[Transaction, features], output=Binary)
    if monitored:
        _monitor(app, model)
    if level == "score":
        app.score(transactions, features=features, model=model, to=scored)
        return app

    @app.agent(transactions, to=scored)
    async def score_one(stream: Stream[Transaction]) -> AsyncIterator[Scored]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            row = await features.get(event)
            prediction = await model.predict(event, row)
            output = prediction.output
            yield Scored(event.id, event.user, output.probability, output.label, prediction.version)

    return app


def _monitor(app: App, model: Model[Binary]) -> None:
    from river import drift

    app.monitor(model, detectors=[drift.ADWIN()], window="1h", columns=["probability"])


def measure(
    level: Level, brokers: str, source: str, target: str, goal: int, feature_repo: Path | None = None
) -> Measurement:
    """Run an app until ``goal`` records are committed; with features in memory unless a Feast repository is given.

    Raises:
        RuntimeError: an incarnation ended or a record failed: what was measured is not the job.
    """
    observer = _Counter(Meter(goal))
    worker = make_worker(build_app(level, source, target), brokers, observer, feature_repo)
    observer.stop_with(worker)
    worker.run()
    if observer.faults:
        raise RuntimeError("; ".join(observer.faults[:3]))
    return observer.meter.result()


def serve(brokers: str, source: str, target: str) -> None:
    """Run the declared app until standard input ends; say ``ready`` on standard output when it takes records."""
    worker = make_worker(build_app("score", source, target), brokers, _Announcer())
    when_input_ends(worker.stop)
    worker.run()


def make_worker(app: App, brokers: str, observer: Observer, feature_repo: Path | None = None) -> Worker:
    """Return a worker for ``app``, its topics created; with features in memory unless a Feast repository is given."""
    settings = load_settings(app.settings, {"bootstrap_servers": brokers, "feature_repo": feature_repo})
    plan = app.plan()
    admin = Admin(settings)
    admin.create(topic_specs(plan, admin.partitions()), partitions=PARTITIONS)
    in_memory: Mapping[str, OpenReader] = {SERVICE: _open_matrix}
    return Worker(plan, settings, observer=observer, readers=None if feature_repo else in_memory)


def _open_matrix() -> MatrixReader:
    return MemoryReader.from_matrix("user", FEATURES, feature_matrix(), service=SERVICE)


class _Counter(Observer):
    """Feeds the meter, stops the worker at the goal and keeps what must not happen."""

    def __init__(self, meter: Meter) -> None:
        self.meter = meter
        self.faults: list[str] = []
        self._worker: Worker | None = None

    def stop_with(self, worker: Worker) -> None:
        """Stop ``worker`` when the goal is reached, or cannot be."""
        self._worker = worker

    def committed(self, records: int, seconds: float) -> None:
        del seconds
        self.meter.committed(records)
        if self.meter.reached:
            self._stop()

    def aborted(self, reason: str, message: str) -> None:
        self._fail(f"{reason}: {message}")

    def dead_lettered(self, step: str, reason: str, records: int, message: str = "") -> None:
        self._fail(f"step {step!r} dead-lettered {records} records ({reason}: {message})")

    def _fail(self, fault: str) -> None:
        self.faults.append(fault)
        self._stop()

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()


class _Announcer(Observer):
    """Tells the parent process that records are taken from now on."""

    def ready(self, ready: bool, why: str) -> None:
        del why
        if ready:
            announce()
