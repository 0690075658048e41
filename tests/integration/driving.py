"""Drives worker processes against a broker: produce inputs, run, kill and restart workers, and judge what came out."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from multiprocessing.context import ForkServerContext, ForkServerProcess, SpawnContext, SpawnProcess
from pathlib import Path
from typing import Protocol

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition

from streamserve.errors import OutageError, TopicError
from streamserve.inference.registry import Registry
from streamserve.testing.checks import Report, check_app, end_offsets, read_topic
from streamserve.testing.faults import FAULT_VARIABLE
from tests.canaries import KAFKA_SECRET, PERSON, refuse_leaks
from tests.integration.apps.topologies import MODEL, Event, inputs_of, output_of
from tests.integration.waiting import PATIENCE_S, WaitTooLong, wait_until
from tests.integration.worker_main import LISTENS, metrics_of, run_worker, told_of
from tests.unit.inference.onnx_models import float_package

FORKS = multiprocessing.get_context("forkserver")
"""Forks workers from a server that has imported the engine already: imports take longer than these tests' work."""
FORKS.set_forkserver_preload(["tests.integration.worker_main", "streamserve.inference.onnx", "river.drift"])
SPAWNED = multiprocessing.get_context("spawn")
"""Starts workers that import everything themselves, as they do outside of tests."""

PLANTED = f',"card":"{PERSON}"}}'.encode()
"""Ends each event with a personal value, which no app knows of."""
START = datetime(2024, 1, 1, tzinfo=UTC)
FAST = {"STREAMSERVE_SESSION_TIMEOUT": "6s", "STREAMSERVE_TRANSACTION_TIMEOUT": "10s"}
"""Time-outs short enough for tests; the broker takes no shorter session."""


class MakeTopics(Protocol):
    """Creates topics, and returns when the broker has them."""

    def __call__(self, *names: str, partitions: int = 1, config: Mapping[str, str] | None = None) -> None: ...


def events(count: int, *, first: int = 0, **options: object) -> list[Event]:
    """Return ``count`` events of ten users, one a second of event time."""
    return [
        msgspec.convert(
            {"uid": uid, "user": f"user-{uid % 10}", "at": START + timedelta(seconds=uid), **options}, Event
        )
        for uid in range(first, first + count)
    ]


def uid_of(value: bytes) -> int:
    return int(json.loads(value)["uid"])


@dataclass(slots=True)
class WorkerProcess:
    """A worker that runs on its own; ``log`` is its standard output and error."""

    process: ForkServerProcess | SpawnProcess
    log: Path

    @property
    def lines(self) -> list[str]:
        return self.log.read_text().splitlines()

    @property
    def running(self) -> bool:
        return self.process.is_alive()

    def said(self, text: str) -> bool:
        return any(text in line for line in self.lines)

    def kill(self) -> None:
        self.process.kill()
        self.process.join()

    def stop(self) -> int:
        """Ask for a drain, as soon as the process can be asked; return the exit status."""
        wait_until(lambda: self.said(LISTENS) or not self.running, "a worker that listens")
        self.process.terminate()
        return self.wait()

    def wait(self, seconds: float = PATIENCE_S) -> int:
        """Wait until it ends; return the exit status (negative: the signal)."""
        self.process.join(seconds)
        if self.process.exitcode is None:
            raise WaitTooLong(f"{self.log.name} runs on after {seconds:g} s\n{self.log.read_text()[-3000:]}")
        return self.process.exitcode


@dataclass(slots=True)
class Driver:
    """One app under test: its topics, its workers, its inputs."""

    brokers: str
    app: str
    topology: str
    folder: Path
    partitions: int = 2
    workers: list[WorkerProcess] = field(default_factory=list[WorkerProcess])
    processes: ForkServerContext | SpawnContext = FORKS

    @property
    def inputs(self) -> list[str]:
        names = inputs_of(self.app)
        return names if self.topology == "merged" else names[:1]

    @property
    def output(self) -> str:
        return output_of(self.app)

    @property
    def dead_letters(self) -> str:
        return f"{self.app}-dead-letters"

    def create(self, make_topics: MakeTopics, output_config: Mapping[str, str] | None = None) -> None:
        """Create the app's topics, and its model where it has one."""
        forever = {"retention.ms": "-1"}
        make_topics(*self.inputs, partitions=self.partitions, config=forever)
        make_topics(self.output, partitions=self.partitions, config={**forever, **(output_config or {})})
        make_topics(self.dead_letters, config=forever)
        if self.topology == "monitored":
            float_package(self.folder)
            Registry(self.folder).set_alias(MODEL, "champion", "1")
            make_topics(f"{self.app}-drift")
            make_topics(f"{self.app}-state-changelog", partitions=self.partitions, config={"cleanup.policy": "compact"})

    def produce(self, items: Iterable[Event | bytes], topic: str | None = None) -> None:
        """Write events under their users, and bytes as they are, to ``topic`` (default: the first input)."""
        producer = Producer(
            {
                "bootstrap.servers": self.brokers,
                "partitioner": "murmur2_random",
                "linger.ms": 5,
                "enable.idempotence": True,
            }
        )
        for item in items:
            value = item if isinstance(item, bytes) else msgspec.json.encode(item)[:-1] + PLANTED
            key = item.user.encode() if isinstance(item, Event) else b"user-0"
            producer.produce(topic or self.inputs[0], value, key)
        assert producer.flush(60) == 0

    def start(self, instance: str = "w0", fault: str = "", **settings: str) -> WorkerProcess:
        log = self.folder / f"{instance}-{len(self.workers)}.log"
        environment = {
            **FAST,
            "STREAMSERVE_BOOTSTRAP_SERVERS": self.brokers,
            "STREAMSERVE_KAFKA": json.dumps(dict(KAFKA_SECRET)),
            **{f"STREAMSERVE_{name.upper()}": value for name, value in settings.items()},
            "STREAMSERVE_INSTANCE": instance,
            FAULT_VARIABLE: fault,
        }
        process = self.processes.Process(
            target=run_worker, args=(self.topology, self.app, self.folder, environment, log)
        )
        log.touch()
        process.start()
        worker = WorkerProcess(process, log)
        self.workers.append(worker)
        return worker

    def written(self) -> dict[tuple[str, int], int]:
        """Return where each partition of the inputs ends now."""
        return end_offsets(self.brokers, self.inputs)

    def behind(self, written: Mapping[tuple[str, int], int] | None = None) -> int:
        """Return how many records of the inputs, or of what was ``written`` to them, are not committed."""
        ends = self.written() if written is None else written
        done = self.committed_of(ends)
        return sum(max(0, end - done.get(place, 0)) for place, end in ends.items())

    def committed(self) -> int:
        """Return how many records of the inputs are committed."""
        return sum(self.committed_of(self.written()).values())

    def committed_of(self, places: Iterable[tuple[str, int]]) -> dict[tuple[str, int], int]:
        """Ask once, as a consumer outside the group does: waits for what is unstable; empty where nobody answers."""
        reader = Consumer({"bootstrap.servers": self.brokers, "group.id": self.app})
        try:
            found = reader.committed([TopicPartition(*place) for place in places], 30)
        except KafkaException:
            return {}
        finally:
            reader.close()
        return {(item.topic, item.partition): item.offset for item in found if item.offset > 0}

    def wait_for_inputs(self, seconds: float = PATIENCE_S) -> None:
        """Wait until everything produced so far is committed."""
        try:
            wait_until(lambda: self.behind() == 0, "all inputs committed", seconds)
        except WaitTooLong as error:
            raise WaitTooLong(f"{error}\n{self.logs()}") from None

    def logs(self) -> str:
        return "\n".join(f"--- {worker.log.name}\n{worker.log.read_text()[-3000:]}" for worker in self.workers)

    def check(self) -> Report:
        """Return the checker's report on everything up to the committed offsets."""
        return check_app(
            self.brokers,
            group=self.app,
            input_topics=self.inputs,
            output_topics=[self.output],
            dead_letter_topic=self.dead_letters,
            uid_of_input=uid_of,
            uid_of_output=uid_of,
            deadline_s=40,
        )

    def close_windows(self) -> None:
        """Write one event for each user, so late that all windows before it close."""
        self.produce(events(10, first=1_000_000))

    def drift_counts(self) -> dict[str, int]:
        """Return how many values each monitored column had, over all closed windows."""
        counts: dict[str, int] = {}
        for record in read_topic(self.brokers, f"{self.app}-drift"):
            message = json.loads(record.value or b"{}")
            if message["kind"] == "statistics" and message["slice"] is None:
                counts[message["column"]] = counts.get(message["column"], 0) + message["count"]
        return counts

    def close(self) -> None:
        for worker in self.workers:
            if worker.running:
                worker.kill()
        self._refuse_leaks()

    def _refuse_leaks(self) -> None:
        """Look for what was planted where operators look: in logs, metrics and headers of dead letters."""
        for worker in self.workers:
            for file in (worker.log, told_of(worker.log), metrics_of(worker.log)):
                if file.exists():
                    refuse_leaks(file.name, file.read_text(errors="replace"))
        with suppress(OutageError, TopicError, KafkaException):  # tests end brokers as well
            letters = read_topic(self.brokers, self.dead_letters, deadline_s=5) if self.workers else []
            refuse_leaks("the header of a dead letter", "\n".join(str(letter.headers) for letter in letters))
