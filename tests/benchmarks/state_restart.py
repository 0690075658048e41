"""A worker with much state on disk, stopped and started again: ``python -m tests.benchmarks.state_restart``.

An app counts as many keys as told in a table on disk, one event each, on a real broker; it is stopped by SIGTERM. Then
one more event is written, and the worker started: how long from the assignment (its own log) until a
``read_committed`` reader has the answer to that event. ``resident_mib`` is the most memory that the worker ever had
while it filled the table. One JSON object is printed.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Generator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import IO

import msgspec
from confluent_kafka import Consumer, KafkaException, Producer, TopicPartition
from rich.console import Console
from rich.progress import Progress

from streamserve import App, Stream
from streamserve.broker.server import LocalBroker
from streamserve.dataflow.planning.topics import topic_specs
from streamserve.kafka.admin import Admin
from streamserve.settings import load_settings
from streamserve.testing.checks import end_offsets

PADDING = "x" * 60
"""With it, a record of the changelog has 100 bytes or more."""
DEADLINE_S = 120.0


class Seen(msgspec.Struct, frozen=True):
    user: str


class Total(msgspec.Struct, frozen=True):
    count: int = 0
    note: str = PADDING


class Counted(msgspec.Struct, frozen=True):
    user: str
    count: int


app = App("state-restart")
seen = app.topic("seen", Seen, key="user")
counted = app.topic("counted", Counted, key="user")
totals = app.table("totals", Total, default=Total, store="disk")


@app.agent(seen, to=counted)
async def count(stream: Stream[Seen]) -> AsyncIterator[Counted]:
    """Count each user's events."""
    async for event in stream:
        total = totals.update(event.user, lambda total: Total(total.count + 1))
        yield Counted(event.user, total.count)


def user(number: int) -> str:
    """Return a key of 24 bytes."""
    return f"user-{number:019d}"


def load(brokers: str, keys: int, progress: Progress) -> None:
    """Write one event for each key."""
    producer = Producer(
        {"bootstrap.servers": brokers, "linger.ms": 20, "compression.type": "lz4", "enable.idempotence": True}
    )
    bar = progress.add_task("write events", total=keys)
    for first in range(0, keys, 10_000):
        numbers = range(first, min(first + 10_000, keys))
        for number in numbers:
            producer.produce("seen", msgspec.json.encode(Seen(user(number))), user(number).encode(), 0)
        producer.flush()
        progress.advance(bar, len(numbers))


@contextmanager
def worker(environment: Mapping[str, str], log: IO[bytes]) -> Generator[subprocess.Popen[bytes]]:
    """Run the app in a process of its own, and stop it as an operator does."""
    command = [sys.executable, "-m", "streamserve", "run", f"{__spec__.name}:app", "--json-logs"]
    with subprocess.Popen(command, env={**os.environ, **environment}, stdout=log, stderr=log) as process:
        try:
            yield process
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(DEADLINE_S)
        if process.returncode != 0:
            raise RuntimeError(f"the worker ended with exit code {process.returncode}; its log: {log.name}")


def fill(brokers: str, environment: Mapping[str, str], log: IO[bytes], keys: int, progress: Progress) -> int:
    """Let a worker count everything, and stop it; return the most memory that it had, in bytes."""
    bar = progress.add_task("count them", total=keys)
    reader = Consumer({"bootstrap.servers": brokers, "group.id": app.name})
    with worker(environment, log) as process:
        done = 0
        while done < keys:
            if process.poll() is not None:
                raise RuntimeError(f"the worker ended; its log: {log.name}")
            time.sleep(0.5)
            with suppress(KafkaException):  # no coordinator yet
                done = max(reader.committed([TopicPartition("seen", 0)], 30)[0].offset, 0)
            progress.update(bar, completed=done)
        peak = peak_bytes(process.pid)
    reader.close()
    return peak


def peak_bytes(pid: int) -> int:
    """Return the most memory that a process had, as Linux tells it."""
    status = Path(f"/proc/{pid}/status").read_text()
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def answer(brokers: str, environment: Mapping[str, str], log: IO[bytes]) -> float:
    """Write an event, start a worker; return the seconds from its assignment to the answer."""
    reader = Consumer(
        {
            "bootstrap.servers": brokers,
            "group.id": "reader",
            "isolation.level": "read_committed",
            "fetch.wait.max.ms": 10,
            "enable.auto.commit": False,
        }
    )
    reader.assign([TopicPartition("counted", 0, end_offsets(brokers, ["counted"])[("counted", 0)])])
    producer = Producer({"bootstrap.servers": brokers})
    producer.produce("seen", msgspec.json.encode(Seen(user(0))), user(0).encode(), 0)
    producer.flush()
    began = log.tell()
    with worker(environment, log):
        message = reader.poll(DEADLINE_S)
        answered = datetime.now(UTC)
        if message is None or json.loads(message.value() or b"{}").get("count", 0) < 2:
            raise RuntimeError(f"no answer, or not one that knows of the state before; the worker's log: {log.name}")
    reader.close()
    return (answered - assigned_at(Path(log.name).read_bytes()[began:])).total_seconds()


def assigned_at(lines: bytes) -> datetime:
    """Return when the worker was given its partitions."""
    told = [json.loads(line) for line in lines.splitlines() if line.startswith(b"{")]
    return datetime.fromisoformat(next(line["timestamp"] for line in told if line["event"] == "partitions assigned"))


def measure(brokers: str, folder: Path, keys: int, rounds: int, progress: Progress) -> dict[str, object]:
    """Return all figures; times in seconds, one for each restart."""
    specs = topic_specs(app.plan(), {}, partitions=1)
    Admin(load_settings(command_line={"bootstrap_servers": brokers, "instance": "w0"})).create(specs, partitions=1)
    environment = {
        "STREAMSERVE_BOOTSTRAP_SERVERS": brokers,
        "STREAMSERVE_STATE_DIR": str(folder / "state"),
        "STREAMSERVE_INSTANCE": "w0",
    }
    load(brokers, keys, progress)
    with (folder / "worker.log").open("ab") as log:
        peak = fill(brokers, environment, log, keys, progress)
        seconds = [
            round(answer(brokers, environment, log), 2) for _ in progress.track(range(rounds), description="restart")
        ]
    return {"keys": keys, "resident_mib": round(peak / (1 << 20)), "first_record_s": seconds}


def main() -> None:
    """Measure on the broker that is named, where nobody has done so before, or on one of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--brokers")
    given = parser.parse_args()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory()))
        brokers: str = given.brokers or stack.enter_context(LocalBroker(folder / "broker")).address
        progress = stack.enter_context(Progress(console=Console(stderr=True)))
        figures = measure(brokers, folder, given.keys, given.rounds, progress)
    print(msgspec.json.encode({"restart": figures}).decode())


if __name__ == "__main__":
    main()
