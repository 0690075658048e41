"""Runs an app in this process against a real broker until its inputs are consumed."""

from __future__ import annotations

import json
import sys
import threading
import traceback
from collections import Counter
from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import msgspec
from confluent_kafka import Producer

from streamserve import App, Stream
from streamserve.clock import Clock
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.dataflow.running.worker import Worker
from streamserve.dataflow.runtime import OpenReader
from streamserve.kafka.admin import Admin
from streamserve.kafka.calls import Hook
from streamserve.observer import Observer, Observers
from streamserve.ops.logging import LoggingObserver
from streamserve.ops.metrics import PrometheusObserver
from streamserve.settings import Settings, load_settings
from streamserve.testing.checks import ReadRecord, read_topic
from tests.canaries import KAFKA_SECRET, refuse_leaks
from tests.integration.waiting import PATIENCE_S


class Recorder(Observer):
    """Remembers what tests ask for, and tells when enough is committed."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self.records = 0
        self.taken: Counter[str] = Counter()
        self.skips: Counter[tuple[str, str]] = Counter()
        self.restarts: list[str] = []
        self.restored_records = 0
        self.is_ready = False

    def polled(self, topic: str, records: int) -> None:
        self.taken[topic] += records

    def global_table(self, topic: str, keys: int, refused: int) -> None:
        del refused
        self.taken[topic] = keys

    def committed(self, records: int, seconds: float) -> None:
        del seconds
        with self.changed:
            self.records += records
            self.changed.notify_all()

    def skipped(self, step: str, reason: str, records: int, message: str = "") -> None:
        del message
        self.skips[step, reason] += records

    def aborted(self, reason: str, message: str) -> None:
        self.restarts.append(f"{reason}: {message}")

    def restoring(self, read: int, total: int) -> None:
        del read
        self.restored_records = max(total, self.restored_records)

    def ready(self, ready: bool, why: str) -> None:
        del why
        with self.changed:
            self.is_ready = ready
            self.changed.notify_all()


class Overheard:
    """Keeps what a worker logs."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def log(self, level: int, event: str, /, **fields: object) -> None:
        self.lines.append(f"{level} {event} {fields}")


class Running:
    """A worker on a thread of its own. Leaving the block stops it and raises what ended it."""

    def __init__(
        self,
        app: App,
        brokers: str,
        readers: Mapping[str, OpenReader] | None = None,
        *,
        hook: Hook | None = None,
        clock: Clock | None = None,
        **more: Any,
    ) -> None:
        self.recorder = Recorder()
        settings = settings_of(app, brokers, **more)
        self._metrics, self._log = PrometheusObserver(app.name), Overheard()
        observer = Observers([self.recorder, self._metrics, LoggingObserver(self._log)])
        self.worker = Worker(app.plan(), settings, observer=observer, readers=readers, hook=hook, clock=clock)
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=app.name)

    def _run(self) -> None:
        try:
            self.worker.run()
        except BaseException as error:
            self._failure = error
        with self.recorder.changed:
            self.recorder.changed.notify_all()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.worker.stop()
        self._thread.join(PATIENCE_S)
        if self._thread.is_alive():
            raise TimeoutError(f"the worker did not stop; {stacks()}")
        refuse_leaks("/metrics", self._metrics.render().decode())
        refuse_leaks("the log", "\n".join(self._log.lines))
        refuse_leaks("what ended the worker", str(self._failure))
        if self._failure is not None:
            raise self._failure

    def until_committed(self, records: int) -> None:
        """Wait until ``records`` inputs are committed; return at once when the worker ends."""
        with self.recorder.changed:
            done = self.recorder.changed.wait_for(
                lambda: self.recorder.records >= records or not self._thread.is_alive() or self._failure is not None,
                PATIENCE_S,
            )
        if not done:
            raise TimeoutError(
                f"{self.recorder.records} of {records} committed; {self.recorder.restarts[-3:]}; {stacks()}"
            )

    def until_ready(self) -> None:
        """Wait until the worker owns its partitions."""
        with self.recorder.changed:
            if not self.recorder.changed.wait_for(lambda: self.recorder.is_ready, PATIENCE_S):
                raise TimeoutError(f"the worker did not become ready; {stacks()}")


def stacks(depth: int = 8) -> str:
    """Return where each other thread stands, innermost call last: what a test that waited in vain is to tell."""
    frames = {thread.name: sys._current_frames().get(thread.ident or 0) for thread in threading.enumerate()}  # pyright: ignore[reportPrivateUsage]
    frames.pop(threading.current_thread().name, None)
    return "\n".join(
        f"{name}: " + " > ".join(f"{call.filename.rsplit('/', 1)[-1]}:{call.lineno} {call.name}" for call in calls)
        for name, frame in frames.items()
        for calls in (traceback.extract_stack(frame)[-depth:],)
    )


class Event(msgspec.Struct, frozen=True):
    """What ``copying`` reads and writes."""

    n: int


def copying(name: str) -> App:
    """Return an app whose one agent copies ``NAME.in`` to ``NAME.out``."""
    app = App(name)
    out = app.topic(f"{name}.out", Event, key="n")

    @app.agent(app.topic(f"{name}.in", Event, key="n"), to=out)
    async def copy(stream: Stream[Event]) -> AsyncIterator[Event]:  # pyright: ignore[reportUnusedFunction]
        async for event in stream:
            yield event

    return app


def settings_of(app: App, brokers: str, **more: Any) -> Settings:
    """Return the settings of a test's only worker, with a planted secret among them."""
    kafka = {**KAFKA_SECRET, **more.pop("kafka", {})}
    given = {"bootstrap_servers": brokers, "instance": f"{app.name}-0", "kafka": kafka, **more}
    return load_settings(app.settings, given)


def create_topics(app: App, brokers: str, partitions: int = 1) -> None:
    """Create every topic that the app needs."""
    admin = Admin(settings_of(app, brokers))
    admin.create(topic_specs(app.plan(), {}, partitions=partitions), partitions=partitions)


def process(
    app: App, brokers: str, records: int, *, readers: Mapping[str, OpenReader] | None = None, **more: Any
) -> Recorder:
    """Run ``app`` until ``records`` inputs are committed; raise what ended it before."""
    with Running(app, brokers, readers, **more) as running:
        running.until_committed(records)
    return running.recorder


@dataclass(frozen=True, slots=True)
class Input:
    """One record to send; ``value`` is written as JSON unless it is bytes or ``None``."""

    value: Any
    key: bytes | None = None
    timestamp_ms: int = 0
    partition: int = 0
    headers: tuple[tuple[str, bytes], ...] = ()


def send(brokers: str, topic: str, inputs: Iterable[Input | Any], config: Mapping[str, Any] | None = None) -> None:
    """Write ``inputs`` to ``topic``; what is not an ``Input`` is a value without a key, in partition 0."""
    producer = Producer({"bootstrap.servers": brokers, "linger.ms": 5, "enable.idempotence": True, **(config or {})})
    for given in inputs:
        item = given if isinstance(given, Input) else Input(given)
        value = item.value if item.value is None or isinstance(item.value, bytes) else json.dumps(item.value).encode()
        headers: Any = list(item.headers)
        producer.produce(topic, value, item.key, partition=item.partition, timestamp=item.timestamp_ms, headers=headers)
    if producer.flush(60):
        raise TimeoutError(f"{topic}: not everything was delivered")


def replay(app: App, brokers: str, topic: str, inputs: Sequence[Input | Any], **more: Any) -> Recorder:
    """Create the topics of ``app``, write ``inputs`` to one of them and run it until as many are committed."""
    create_topics(app, brokers)
    send(brokers, topic, inputs)
    return process(app, brokers, len(inputs), **more)


def values(brokers: str, topic: str) -> list[Any]:
    """Return the JSON values of ``topic``, as a ``read_committed`` reader sees them."""
    return [json.loads(record.value or b"null") for record in read_topic(brokers, topic)]


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """A dead letter taken apart."""

    record: ReadRecord
    headers: Mapping[str, str]

    @property
    def offset(self) -> int:
        return int(self.headers["source-offset"])

    @property
    def why(self) -> tuple[str, str, str]:
        """Return step, reason and error class."""
        return self.headers["step"], self.headers["reason"], self.headers["error"]


def dead_letters(brokers: str, app: App) -> list[DeadLetter]:
    """Return the dead letters of ``app``, those of one partition in order."""
    records = read_topic(brokers, f"{app.name}-dead-letters")
    refuse_leaks("the header of a dead letter", "\n".join(str(record.headers) for record in records))
    return [DeadLetter(record, {name: _text(value) for name, value in record.headers}) for record in records]


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""


def offsets(letters: Sequence[DeadLetter]) -> list[int]:
    """Return the offsets of the inputs of ``letters``."""
    return sorted(letter.offset for letter in letters)
